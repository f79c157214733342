"""Any number of requests, each answered once, with a journal that survives a kill: run it twice."""

from analyze import Answer, ChatRequest, MultiVLLMClient, ask_many

client = MultiVLLMClient([f"http://localhost:{port}/v1" for port in (8001, 8002, 8003, 8004)])

requests = (
    ChatRequest([{"role": "user", "content": f"What is {n} times {n}?"}], id=f"square-{n}", options={"max_tokens": 32})
    for n in range(1000)
)

for outcome in ask_many(requests, client, journal="outputs/squares.jsonl"):
    if isinstance(outcome, Answer):
        print(outcome.id, outcome.instance, outcome.text[:40])
    else:
        print(outcome.id, "failed:", outcome.kind, outcome.message)
