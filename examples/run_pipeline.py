"""Judge the tasks of a file from Python; the result maps each artefact to its path."""

from analyze import create_multi_vllm_client, run_pipeline

client = create_multi_vllm_client(ports=[8001, 8002, 8003, 8004], host="localhost")
paths = run_pipeline(input_jsonl="data/tasks.jsonl", output_dir="outputs", client=client)

print(f"结果: {paths}")
