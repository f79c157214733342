"""The OpenAI client you know, over several servers."""

from analyze import MultiVLLMClient

client = MultiVLLMClient(
    [
        "http://localhost:8001/v1",
        "http://localhost:8002/v1",
        "http://localhost:8003/v1",
        "http://localhost:8004/v1",
    ]
)

response = client.chat.completions.create(
    model=client.models.list().data[0].id,
    messages=[{"role": "user", "content": "Hello!"}],
    temperature=0.7,
    max_tokens=64,
)

print(response.choices[0].message.content)
