"""What errors say, in Chinese: one entry a sentence, as it is written in English where it is raised.

    "{} cannot be written: {}"  ->  "无法写入 {}: {}"          {} stand for values in their order, {0} {1} by number

Errors are raised in English, which is what logs, records and exceptions hold; only a console that speaks Chinese looks
here. A sentence that is not listed is shown as it is. A test walks the sources, so that none is forgotten.
"""

from __future__ import annotations

import re
from functools import cache

ZH = {
    # --- files ---
    "{} cannot be written: {}": "无法写入 {}: {}",
    "give another output": "请换一个输出位置",
    "{}: {}; everything recorded before is safe": "{}: {}；此前记录的结果都在",
    "{}, then run the same command again": "{}，然后重新运行同一条命令",
    "make room": "请腾出磁盘空间",
    "see what is wrong with the disk (dmesg, mount)": "请检查磁盘（dmesg、mount）",
    "a process of ours was ended from outside (status {})": "辅助进程被外部终止（状态 {}）",
    "free some memory, then run the same command again": "请释放一些内存，然后重新运行同一条命令",
    "there is no such file": "文件不存在",
    "give the path of a file that is there": "请给出存在的文件路径",
    "is a directory": "是一个目录",
    "name the file in it": "请指明其中的文件",
    "cannot be read: no permission": "无法读取: 没有权限",
    "cannot be read: {}": "无法读取: {}",
    "{} cannot be read: {}": "无法读取 {}: {}",
    "see that the disk or network below it works": "请检查其所在的磁盘或网络",
    "the file is empty": "文件为空",
    "write one JSON object a line": "请每行写一个 JSON 对象",
    "is a binary file, not text": "是二进制文件，不是文本",
    "give a text file, unpacked": "请给出解压后的文本文件",
    "neither UTF-8 nor GB18030 text": "既不是 UTF-8 也不是 GB18030 文本",
    "save it as UTF-8": "请另存为 UTF-8",
    "save the file as UTF-8": "请将文件另存为 UTF-8",
    # --- annotate ---
    "{} gives boxes in pixels of the image as it is resized, which the server does here, unseen": "{} 的边界框"
    "以缩放后图片的像素为单位，而此时缩放由服务器完成，无从得知",
    "leave out --image-transport file, or name the server's own limit with --max-pixels": "请去掉 "
    "--image-transport file，或用 --max-pixels 给出服务器自己的上限",
    "no input, no output or no image root is given": "没有给出输入、输出或图片根目录",
    "is no folder of images": "不是图片文件夹",
    "is no record of an annotation ({})": "不是标注记录（{}）",
    "give an output": "请给出标注的输出文件",
    "is no COCO file ({}: {})": "不是 COCO 文件（{}: {}）",
    "give an object with images, annotations and categories, as COCO has them": "请给出带有 images、annotations、"
    "categories 的 COCO 对象",
    "is no JSON ({})": "不是 JSON（{}）",
    "give a COCO file": "请给出 COCO 文件",
    "holds no good annotation": "没有可用的标注",
    "look at the failures of its run": "请查看该次运行的失败记录",
    "{} and another image would share {}: this format tells images apart by their names without ending": "{} 与另一张"
    "图片会共用 {}: 此格式按不带扩展名的文件名区分图片",
    "export to coco, which has whole names": "请导出为 coco，其中保留完整文件名",
    "{} is there already": "{} 已存在",
    "give another place with -o": "请用 -o 给出其他位置",
    "{} has no run beside it that names its images": "{} 旁边没有记录图片位置的运行文件",
    "average precision needs pycocotools": "计算 AP 需要 pycocotools",
    "{} has {} attention heads, which {} GPUs cannot share equally; these can: {}": "{} 有 {} 个注意力头，{} 张 GPU "
    "无法均分；可用的张数: {}",
    "TENSOR_PARALLEL_SIZE={}, without GPU_GROUPS: as many instances of that size as there are GPUs for": ""
    "TENSOR_PARALLEL_SIZE={}，不设 GPU_GROUPS: 按此大小启动 GPU 数量允许的实例数",
    # --- commands and settings ---
    "analyze has no command {}": "analyze 没有 {} 这个命令",
    "use one of: {}": "可选: {}",
    "{}={} is not a language spoken here": "{}={} 不是支持的语言",
    "use en or zh": "请用 en 或 zh",
    "unrecognized arguments: {}": "无法识别的参数: {}",
    "argument {}: expected one argument": "参数 {} 需要一个值",
    "argument {}: invalid choice: {} (choose from {})": "参数 {} 的值 {} 无效（可选 {}）",
    "argument {}: {} is no number from 1 up": "参数 {}: {} 不是从 1 起的整数",
    "argument {}: {} is no share such as 5% or 0.05": "参数 {}: {} 不是 5% 或 0.05 这样的比例",
    "argument {}: {} is no part such as 1/4": "参数 {}: {} 不是 1/4 这样的分片",
    "argument {}: {} is no probability from 0 to 1": "参数 {}: {} 不是 0 到 1 之间的概率",
    "argument {}: {} is no temperature from 0 to 2": "参数 {}: {} 不是 0 到 2 之间的温度",
    "argument {}: {} is no share of a GPU, above 0 and up to 1": "参数 {}: {} 不是大于 0 且不超过 1 的显存比例",
    "argument {}: no JSON: {}": "参数 {}: 不是 JSON: {}",
    "argument {}: not allowed with argument {}": "参数 {} 不能与 {} 同用",
    "the following arguments are required: {}": "缺少必需的参数: {}",
    "{}={} is neither true nor false": "{}={} 既不是 true 也不是 false",
    "{}=true or false": "{}=true 或 false",
    "{}={} is no number from 0 up": "{}={} 不是从 0 起的整数",
    "VLLM_API_KEY holds characters that no key has": "VLLM_API_KEY 含有密钥中不会出现的字符",
    "set it again, without line ends": "请重新设置，不要带换行",
    "VLLM_PORTS={} names no port": "VLLM_PORTS={} 没有给出端口",
    "VLLM_PORTS={}: {} is no port": "VLLM_PORTS={}: {} 不是端口",
    "{} is no base URL": "{} 不是服务器地址",
    "give it as http://HOST:PORT/v1, without user or password": "请写成 http://HOST:PORT/v1，不要带用户名或密码",
    "no server address is given": "没有给出服务器地址",
    "give at least one base URL, or VLLM_PORTS": "请至少给出一个地址，或设置 VLLM_PORTS",
    "policy={} is not known": "未知的 policy={}",
    "ANALYZE_ENGINE={} is not known": "未知的 ANALYZE_ENGINE={}",
    # --- batch ---
    "{} is built in the order of the input, which is read twice for it": "{} 按输入的顺序生成，需要读两遍输入",
    "-o {}, or save the input as a file, and give that": "改用 -o {}，或把输入存为文件再给出",
    "--update and --ordered read the input twice": "--update 和 --ordered 需要读两遍输入",
    "save it as a file, and give that": "请先存成文件，再给出该文件",
    "no input or no output is given": "没有给出输入或输出",
    "{}: answers are written as .jsonl": "{}: 结果只写成 .jsonl",
    "{} is the input too; it would be overwritten": "{} 同时也是输入，会被覆盖",
    "give another output with -o": "请用 -o 换一个输出",
    "--body is for --template; requests have bodies of their own": "--body 只用于 --template；请求自带 body",
    "the body holds messages, which the template writes": "body 中含有 messages，而这由模板生成",
    "leave them out of the body": "请从 body 中去掉",
    # --- inputs ---
    "{} is no format of an input": "{} 不是支持的输入格式",
    "one of {}": "可选 {}",
    "can be read only once": "只能读一遍",
    "save it as a file": "请存成文件",
    "is no Parquet file": "不是 Parquet 文件",
    "give it the ending of what it is": "请改成与内容相符的扩展名",
    "is Parquet, which cannot be read from a pipe": "是 Parquet，不能从管道读取",
    "has the unknown ending {}": "扩展名 {} 未知",
    "has no ending that says what it holds": "没有能说明内容的扩展名",
    "rename it: {}; the text ones also with .gz or .zst": "请改名: {}；文本格式也可加 .gz 或 .zst",
    "is packed, and damaged or cut short: {}": "压缩文件已损坏或不完整: {}",
    "copy or pack it again": "请重新复制或压缩",
    "a quote opens in this row and never closes": "此行的引号没有闭合",
    'close the quote; one inside a cell is written twice: "say ""hi"""': (
        '请闭合引号；单元格内的引号写两遍: "say ""hi"""'
    ),
    "column {} has no name": "第 {} 列没有列名",
    "two columns are named {}": "有两列同名 {}",
    "give a first row with a name of its own for each column": "第一行请给出互不相同的列名",
    "{} after row {}": "第 {1} 行之后{0}",
    "no JSON in or after row {}: {}": "第 {} 行或其后不是 JSON: {}",
    "nested too deeply": "嵌套过深",
    "correct it: where one row of an array ends wrongly, the next ones cannot be told": (
        "请改正: 数组中一行出错，其后各行就无法分辨"
    ),
    "{}: Parquet needs pyarrow": "{}: 读取 Parquet 需要 pyarrow",
    "see that it was copied and written whole": "请确认文件写入和复制完整",
    "holds no rows": "没有任何数据行",
    "see that the right file is given": "请确认给出的文件正确",
    "is closed": "已关闭",
    "give a file": "请给出文件",
    "no JSON: {}": "不是 JSON: {}",
    "longer than {} MiB": "长度超过 {} MiB",
    "no CSV: {}": "不是 CSV: {}",
    "{} cells, the header has {}": "有 {} 个单元格，而表头有 {} 个",
    "a request is a ChatRequest or an object with a body, not {}": "请求应是 ChatRequest 或带 body 的对象，而不是 {}",
    'it has no "body" object': "缺少 “body” 对象",
    '"url" is {}, not a path such as {}': "“url” 是 {}，而不是 {} 这样的路径",
    "its id is {}, not a string": "其 id 是 {}，不是字符串",
    '"stream" makes no sense in a batch; leave it out': "批量请求中不应有 “stream”，请去掉",
    "correct the {}, or leave such lines out with --skip-bad": "请改正{}，或用 --skip-bad 跳过这样的行",
    "line": "该行",
    "line or the template": "该行或模板",
    "rows of a table become requests by --template prompt.j2": "表格的行要用 --template prompt.j2 变成请求",
    "request {}: {}": "请求 {}: {}",
    # --- templates ---
    "no template: {}": "不是有效的模板: {}",
    "correct it; {% raw %}…{% endraw %} around text that is meant to hold {{, {% or {#": (
        "请改正；正文要含 {{、{% 或 {# 时，用 {% raw %}…{% endraw %} 包住"
    ),
    "a row must be an object with named values, not {}": "一行应是带字段名的对象，而不是 {}",
    "the template asks for what the row lacks: {}; it has: {}": "模板要用的内容该行没有: {}；该行有: {}",
    "the template fails on this row: {}: {}": "模板在该行上出错: {}: {}",
    "its {} is {}, neither text nor a whole number": "其 {} 是 {}，既不是文本也不是整数",
    "{} holds {}, a control token of {} that is not on the text guard's list": (
        "{} 含有 {}，它是 {} 的控制 token，不在文本防护名单上"
    ),
    "write it as {}·{} in the input, or ask another model; and report the token, please": (
        "请在输入中写成 {}·{}，或换一个模型；也请把这个 token 告诉我们"
    ),
    # --- classification ---
    "{}: results are written as one of {}": "{}: 结果只能写成 {}",
    "{} is for servers that are started here, but addresses are given": "{} 只用于自行启动的服务器，而这里给出了地址",
    "leave out {}, or the addresses": "请去掉 {}，或去掉地址",
    "this is no label: {}": "这不是标签: {}",
    "{}: a file of labels is one of {}": "{}: 标签文件的扩展名应为 {} 之一",
    "give it another ending": "请改用其中一种扩展名",
    # --- inference ---
    "--output_path and --task_name are required": "缺少 --output_path 或 --task_name",
    "--use_cpu needs --model_type hf, not {}": "--use_cpu 需要 --model_type hf，而不是 {}",
    "--model_type hf --use_cpu; or VLLM_DEVICE=cpu for vLLM on the CPU": (
        "--model_type hf --use_cpu；要在 CPU 上用 vLLM，请设 VLLM_DEVICE=cpu"
    ),
    "--extract_only writes answers, --dry_run writes nothing": "--extract_only 会写出答案，而 --dry_run 什么也不写",
    "--extract_only keeps the replies that --rerun moves away": "--extract_only 要用已有回复，而 --rerun 会把它们移走",
    "leave out one of them": "请去掉其中之一",
    "--{} is for vLLM; a worker of hf has one GPU": "--{} 只用于 vLLM；hf 的每个进程使用一张 GPU",
    "addresses are given, but --model_type hf asks no server": "给出了服务器地址，但 --model_type hf 不使用服务器",
    "leave out --base-url, unset VLLM_ENDPOINTS, VLLM_PORTS and VLLM_HOST; or --model_type server": (
        "请去掉 --base-url，并取消 VLLM_ENDPOINTS、VLLM_PORTS 和 VLLM_HOST；或改用 --model_type server"
    ),
    "--{} is for what is started here, but {}": "--{} 只用于在此启动的服务，但{}",
    "addresses are given": "给出了服务器地址",
    "--model_type server asks servers that run": "--model_type server 使用已在运行的服务器",
    "leave out --{}": "请去掉 --{}",
    "--model_path is required with --model_type {}": "--model_type {} 需要 --model_path",
    "--model_path tiny-random tries everything with a tiny model of random weights": (
        "用 --model_path tiny-random 可以用随机权重的微型模型试跑全流程"
    ),
    "--model_type {} needs a GPU, and there is no sign of one here{}": "--model_type {} 需要 GPU，而此处没有{}",
    "of the ports from {} to {} only {} are free, {} are needed": "端口 {} 到 {} 中只有 {} 个空闲，需要 {} 个",
    "end what listens there (ss -ltnp shows it)": "请结束占用这些端口的进程（可用 ss -ltnp 查看）",
    "workers * tensor_parallel_size = {} * {} = {} GPUs, but {} can be used here ({})": (
        "workers * tensor_parallel_size = {} * {} = {} 张 GPU，而可用的只有 {} 张（{}）"
    ),
    "--tensor_parallel_size {}, or less": "--tensor_parallel_size {} 或更小",
    "--workers {}, or a smaller --tensor_parallel_size": "--workers {}，或减小 --tensor_parallel_size",
    "--task_name {} is no name of a folder in {}/": "--task_name {} 不是 {}/ 下的文件夹名",
    "there is no task {}: no folder {}/{}": "没有任务 {}: 不存在文件夹 {}/{}",
    "{}/{} holds neither {} nor {}": "{}/{} 中既没有 {} 也没有 {}",
    "write one of them": "请写其中之一",
    "{} is missing": "缺少 {}",
    "{} is no function": "{} 不是函数",
    "a task has {}": "任务需要 {}",
    "REQUIRED_FIELDS is no list of names": "REQUIRED_FIELDS 不是字段名列表",
    'REQUIRED_FIELDS = ["question"]': '例如 REQUIRED_FIELDS = ["question"]',
    "no Python: {}": "不是 Python: {}",
    "this output holds another run: the task was {}, is {}": "此输出属于另一次运行: 任务原为 {}，现为 {}",
    "give its --task_name, or the --output_path of another run": (
        "请给出该任务的 --task_name，或另一次运行的 --output_path"
    ),
    "give another --output_path; --rerun moves what is there to previous/": (
        "请换一个 --output_path；--rerun 会把已有结果移到 previous/"
    ),
    "{} raised {} ({})": "{} 抛出 {}（{}）",
    "row {} of {}: {}": "{1} 第 {0} 行: {2}",
    "format_prompt must return a text or a list of messages, not {}": "format_prompt 应返回文本或消息列表，而不是 {}",
    "format_prompt gave an empty prompt": "format_prompt 返回了空的提示",
    'a message is {"role": ..., "content": ...}, not {}': '消息应为 {"role": ..., "content": ...}，而不是 {}',
    "it lacks {} (REQUIRED_FIELDS); it has: {}": "缺少 {}（REQUIRED_FIELDS）；该行有: {}",
    "its values cannot be written as JSON: {}": "其值无法写成 JSON: {}",
    "read_file must return a list of rows, not {} ({})": "read_file 应返回行的列表，而不是 {}（{}）",
    "extract_answer gave {}, which is no JSON: {}": "extract_answer 返回 {}，无法写成 JSON: {}",
    "evaluate gave {}, which is no JSON: {}": "evaluate 返回 {}，无法写成 JSON: {}",
    "it raised {} when it was loaded": "加载时抛出 {}",
    "the key {} must be {}": "键 {} 应为 {}",
    "holds no keys": "没有任何键",
    "write files:, user: and extract:": "请写 files:、user: 和 extract:",
    "the key {} is not known": "未知的键 {}",
    "exactly one of user: (a chat) and prompt: (plain text) is wanted": (
        "user:（对话）与 prompt:（纯文本）须恰好给出一个"
    ),
    "no YAML: {}": "不是 YAML: {}",
    "there is nothing to do: {}": "没有可处理的数据: {}",
    "no file holds a row": "所有文件中都没有数据行",
    "see get_file_list, read_file": "请检查 get_file_list 和 read_file",
    "get_file_list must return a list of paths, not {}": "get_file_list 应返回路径列表，而不是 {}",
    "return [path, ...]": "请返回 [path, ...]",
    "get_file_list names no file": "get_file_list 没有给出文件",
    "see --input_path, and the task": "请检查 --input_path 与任务代码",
    "holds no object": "内容不是对象",
    'write {"temperature": 0.7, "max_tokens": 512}': '请写成 {"temperature": 0.7, "max_tokens": 512}',
    "{}: n is {}, but at temperature 0 all replies are the same": "{}: n 为 {}，但 temperature 为 0 时所有回复都相同",
    "give a temperature above 0, or n 1": "请设大于 0 的 temperature，或 n 为 1",
    "{}: min_tokens is {}, more than max_tokens, which is {} ({})": (
        "{}: min_tokens 为 {}，大于 max_tokens 的 {}（{}）"
    ),
    "give fewer min_tokens, or more max_tokens": "请减小 min_tokens，或增大 max_tokens",
    "the sampling cannot be: {}": "采样参数不可行: {}",
    "leave it out, or --model_type vllm": "请去掉，或用 --model_type vllm",
    "{}: {} is no sampling parameter": "{}: {} 不是采样参数",
    "write {}": "请写 {}",
    "{}: the sampling parameter {} is {}": "{}: 采样参数 {} 的值为 {}",
    "it must be {}": "应为 {}",
    "a number from {}": "不小于 {} 的数",
    "a number from {} to {}": "{} 到 {} 之间的数",
    "a whole number from {} up": "从 {} 起的整数",
    "a text, or a list of up to four": "一段文本，或至多四段的列表",
    "a list of token numbers": "token 编号列表",
    "{}: {} cannot be granted by --model_type {}": "{}: --model_type {2} 不支持 {1}",
    "leave {} out, or --model_type vllm": "请去掉 {}，或改用 --model_type vllm",
    "holds no recorded replies": "没有已记录的回复",
    "run without --extract_only first, or give the --output_path of a run": (
        "请先不带 --extract_only 运行，或给出某次运行的 --output_path"
    ),
    "{} ended while loading the model ({}); the end of {}:\n\n{}": "{} 在加载模型时退出（{}）；{} 的末尾:\n\n{}",
    "see above; out of memory: fewer --workers, or a smaller model": (
        "见上；若内存不足，请减少 --workers 或换小一些的模型"
    ),
    "no worker is left: each died, and once more after it was started again": (
        "没有可用的工作进程: 每个都退出过，重新启动后又再次退出"
    ),
    "see {}; the same command continues": "请查看 {}；用同一条命令可以继续",
    # --- the engine hf ---
    "addresses are given, but --engine hf asks no server": "给出了服务器地址，但 --engine hf 不使用服务器",
    "leave out --base-url, unset VLLM_ENDPOINTS, VLLM_PORTS and VLLM_HOST; or leave out --engine hf": (
        "请去掉 --base-url，并取消 VLLM_ENDPOINTS、VLLM_PORTS 和 VLLM_HOST；或去掉 --engine hf"
    ),
    "{} is for replies, but --mode label-read reads probabilities": "{} 只用于回复，而 --mode label-read 读取概率",
    "--mode label-read reads one label a text, and --multi-label wants several": (
        "--mode label-read 每条文本只读取一个标签，而 --multi-label 需要多个"
    ),
    "leave out one of the two": "请去掉其中一个",
    "--mode label-read has letters for {} labels, and there are {}": (
        "--mode label-read 最多支持 {} 个标签，这里有 {} 个"
    ),
    "leave out --mode label-read": "请去掉 --mode label-read",
    "--mode label-read needs letters that are one token each, and a server that tells which (/tokenize, /detokenize): "
    "this model's are not, or nobody tells": (
        "--mode label-read 要求每个字母恰为一个 token，并由服务器告知是哪一个（/tokenize、/detokenize）: "
        "此模型不满足，或服务器没有告知"
    ),
    "{} does not tell the log-probabilities of the letters' tokens (logprob_token_ids): {}": (
        "{} 没有给出各字母 token 的对数概率（logprob_token_ids）: {}"
    ),
    "it told those of {} of {}": "{1} 个中只给出 {0} 个",
    "what it told are no log-probabilities (--logprobs-mode of the server)": (
        "给出的不是对数概率（见服务器的 --logprobs-mode）"
    ),
    "serve the model with a newer vLLM (0.32 does), or leave out --mode label-read": (
        "请用较新的 vLLM（0.32 支持），或去掉 --mode label-read"
    ),
    "{} is for servers that are started here, but --engine hf starts none": (
        "{} 只用于自行启动的服务器，而 --engine hf 不启动服务器"
    ),
    "leave out {}": "请去掉 {}",
    "the engine hf cannot work here: {}": "此环境无法使用引擎 hf: {}",
    "there is a GPU, but torch {} cannot use it": "有 GPU，但 torch {} 无法使用",
    "install a torch for CUDA (pytorch.org/get-started), or VLLM_DEVICE=cpu": (
        "请安装支持 CUDA 的 torch（pytorch.org/get-started），或设置 VLLM_DEVICE=cpu"
    ),
    "VLLM_DEVICE=cuda, but there is no sign of an NVIDIA GPU on this machine": (
        "VLLM_DEVICE=cuda，但本机没有 NVIDIA GPU 的迹象"
    ),
    "{} cannot be loaded: {}": "无法加载 {}: {}",
    "--model is a folder with a model, or a name on the Hugging Face hub, if that can be reached": (
        "--model 应是模型所在的文件夹，或（能联网时）Hugging Face 上的模型名"
    ),
    "{} is too large for this GPU: {}": "{} 太大，此 GPU 放不下: {}",
    "a smaller --model; --engine fleet spreads one over several GPUs (--tensor-parallel-size)": (
        "请换较小的 --model；--engine fleet 可把模型分到多个 GPU（--tensor-parallel-size）"
    ),
    "{} has no chat template": "{} 没有聊天模板",
    "--model must be one that is made for chats": "--model 应是对话模型",
    "{} takes {} tokens, not {}": "{} 最多支持 {} 个 token，而不是 {}",
    "--max-model-len {}, or less": "--max-model-len {} 或更小",
    'a label is "name", or {"label": "name", "description": "...", "examples": ["..."]}': (
        '标签写成 "名称" 或 {"label": "名称", "description": "...", "examples": ["..."]}'
    ),
    "two labels are named {}": "有两个标签同名 {}",
    "name each label once": "每个标签只列一次",
    "a label has no name": "有标签没有名称",
    "--labels a,b,c without empty ones": "--labels a,b,c，不要有空的",
    "{} label(s) leave nothing to choose": "{} 个标签无从选择",
    "take less of the GPU: --gpu-memory-utilization 0.7, or a smaller --max-num-seqs or --max-model-len": (
        "请少占显存: --gpu-memory-utilization 0.7，或减小 --max-num-seqs、--max-model-len"
    ),
    # --- tasks ---
    "holds no usable task": "没有可用的任务",
    "write one JSON object per line: see data/tasks.jsonl": "请每行写一个 JSON 对象，参见 data/tasks.jsonl",
    "a line must be a JSON object, this one is {}": "每行应是 JSON 对象，此行是 {}",
    "write {…} on each line": "请每行写成 {…}",
    "the task has no `prompt`": "任务没有 `prompt`",
    'say what the solutions had to do: "prompt": "…"': '请写明解答要完成什么: "prompt": "…"',
    "the task has no `target`": "任务没有 `target`",
    'add "target": {"author": "…", "code": "…"}': '请加上 "target": {"author": "…", "code": "…"}',
    "the target is by {}, but {} was asked for": "目标解答的作者是 {}，而要求的是 {}",
    "leave out --target, or give `solutions` instead of `target` and `rivals`": (
        "请去掉 --target，或用 `solutions` 代替 `target` 和 `rivals`"
    ),
    "the task has no rivals": "任务没有对手解答",
    'add "rivals": [{"author": "…", "code": "…"}]': '请加上 "rivals": [{"author": "…", "code": "…"}]',
    'add "target" and "rivals", or "solutions"': '请加上 "target" 和 "rivals"，或 "solutions"',
    "the task has `solutions` but no target": "任务有 `solutions`，但没有指定目标",
    "--target AUTHOR, one of: {}": "--target AUTHOR，可选: {}",
    "no solution is by {}": "没有 {} 的解答",
    "add the solution of at least one other author": "请至少再加一位作者的解答",
    "`{}` must be an object, it is {}": "`{}` 应是对象，实际是 {}",
    "`{}` has no `code`": "`{}` 没有 `code`",
    'add "code": "…" ("" for a solution that was never written)': '请加上 "code": "…"（没有写出的解答用 ""）',
    "`code` of `{}` must be text, it is {}": "`{}` 的 `code` 应是文本，实际是 {}",
    'write "" for an empty solution': '空解答请写 ""',
    "`passed` of `{}` must be true, false or null, it is {}": "`{}` 的 `passed` 应是 true、false 或 null，实际是 {}",
    "correct it": "请改正",
    "{} must be text, it is {}": "{} 应是文本，实际是 {}",
    'write "{}": "…"': '请写 "{}": "…"',
    "`{}` is empty": "`{}` 为空",
    "give it a name, or leave it out": "请给出名称，或去掉",
    "`tags` must be a list of texts": "`tags` 应是文本列表",
    'write "tags": ["array", "sorting"]': '请写 "tags": ["array", "sorting"]',
    "`{}` must be a list of {}, it is {}": "`{}` 应是{}的列表，实际是 {}",
    'write "{}": […]': '请写 "{}": […]',
    "task_id {} is already on line {}": "task_id {} 在第 {} 行已经出现",
    "give each task its own task_id": "请给每个任务不同的 task_id",
    "the line is neither UTF-8 nor GB18030": "该行既不是 UTF-8 也不是 GB18030",
    "two solutions are by {}": "有两份解答的作者都是 {}",
    "give every solution its own author name": "请给每份解答不同的作者名",
    "the line is nested too deeply": "该行嵌套过深",
    "write a flat JSON object": "请写成扁平的 JSON 对象",
    "the line is no JSON: {}": "该行不是 JSON: {}",
    "one JSON object per line; `jq -c '.[]' FILE` makes lines of an array": (
        "请每行一个 JSON 对象；`jq -c '.[]' FILE` 可把数组拆成行"
    ),
    "correct the line": "请改正该行",
    "null": "null",
    "a truth value": "布尔值",
    "a number": "数字",
    "a text": "文本",
    "text": "文本",
    "a list": "列表",
    "an object": "对象",
    "objects": "对象",
    "texts": "文本",
    "SECOND_JUDGE_MODEL={} is given, but not which servers serve it": (
        "给出了 SECOND_JUDGE_MODEL={}，但没有给出提供它的服务器"
    ),
    "SECOND_JUDGE_ENDPOINTS=http://HOST:PORT/v1 says where": "请用 SECOND_JUDGE_ENDPOINTS=http://HOST:PORT/v1 指明",
    "a second judge needs a first one, and ANALYZE_ENGINE=measured asks no model": (
        "第二评审需要先有第一评审，而 ANALYZE_ENGINE=measured 不用模型"
    ),
    "ANALYZE_ENGINE=fleet, or leave SECOND_JUDGE_ENDPOINTS away": "ANALYZE_ENGINE=fleet，或去掉 SECOND_JUDGE_ENDPOINTS",
    "a second judge is asked on the audited tasks, and AUDIT_TASKS=0 names none": (
        "第二评审只评受检任务，而 AUDIT_TASKS=0 没有受检任务"
    ),
    "AUDIT_TASKS={}, or leave SECOND_JUDGE_ENDPOINTS away": "AUDIT_TASKS={}，或去掉 SECOND_JUDGE_ENDPOINTS",
    "choose with --second-judge-model": "请用 --second-judge-model 选定",
    "the second judge: {}": "第二评审: {}",
    "start its servers, or leave SECOND_JUDGE_ENDPOINTS away: the run goes on without it": (
        "请启动其服务器，或去掉 SECOND_JUDGE_ENDPOINTS，运行照常继续"
    ),
    # --- runs and their records ---
    "no pipeline run has finished here": "这里没有完成的分析运行",
    "give the OUTPUT_DIR of a run": "请给出一次运行的 OUTPUT_DIR",
    "this folder holds no run: neither run.json nor per_task.jsonl is there": (
        "此目录没有运行记录: 既没有 run.json 也没有 per_task.jsonl"
    ),
    "name the OUTPUT_DIR of a pipeline run": "请给出一次分析运行的 OUTPUT_DIR",
    "not a JSON object": "不是 JSON 对象",
    "not JSON ({})": "不是 JSON（{}）",
    "run the same pipeline command again: it rebuilds this file from the journal": (
        "请重新运行同一条分析命令，它会由 journal 重建此文件"
    ),
    "another run writes to this output: {} ({})": "另一个任务正在写入此输出: {}（{}）",
    "process {} on {}, since {}": "进程 {}，主机 {}，始于 {}",
    "wait for it to end, or stop it; this run changed nothing": "请等它结束或停掉它；本次没有改动任何内容",
    "if that run has ended: rm {}": "若该任务已经结束: rm {}",
    "this file was not written by a run of ours": "此文件不是本工具写的",
    "this line was not written by a run of ours ({})": "此行不是本工具写的（{}）",
    "give another output, or move this file away": "请换一个输出，或移走此文件",
    "{} was removed while the run wrote to it": "{} 在写入过程中被删除",
    "run the command again": "请重新运行命令",
    "this output holds another run: {}": "此输出属于另一次运行: {}",
    "--update asks everything again that differs; or give another output": (
        "--update 会重新请求有差异的部分；或换一个输出"
    ),
    "this is not a manifest that can be read ({})": "这份 manifest 无法读取（{}）",
    "move it away: the run continues from its journal": "请移走它，运行会由 journal 继续",
    "{} row(s) were recorded with another content, prompt, schema or sampling: {}": (
        "{} 行记录时的内容、提示词、格式或采样参数与现在不同: {}"
    ),
    "--update asks them again and retires the old lines; or give another output": (
        "--update 会重新请求并作废旧记录；或换一个输出"
    ),
    "the time is up; everything recorded is safe": "时间已到；已记录的结果都在",
    "the same command continues": "同一条命令可以继续",
    "{} of {} rows failed, more than --max-error-rate allows; everything recorded is safe": (
        "{1} 行中有 {0} 行失败，超过 --max-error-rate；已记录的结果都在"
    ),
    "look at the failures; the same command continues": "请查看失败原因；同一条命令可以继续",
    "there is no such output": "没有这个输出",
    "was not written by a run": "不是由运行写出的",
    "give the file that was given with -o": "请给出当时 -o 指定的文件",
    "holds no run": "没有运行记录",
    "give the output of a batch (answers.jsonl), or the OUTPUT_DIR of a pipeline": (
        "请给出 batch 的输出（answers.jsonl）或分析的 OUTPUT_DIR"
    ),
    "give the output of a run (answers.jsonl), or a folder that holds some": (
        "请给出一次运行的输出（answers.jsonl），或含有这些输出的目录"
    ),
    "{} {}, {} for one": "{}有 {} 条，应为 {} 条",
    "fold the run again: a record counted twice makes every interval too narrow": (
        "请重新汇总: 重复计数会使所有区间过窄"
    ),
    "FONT_PATH={} cannot be read ({})": "FONT_PATH={} 无法读取（{}）",
    "name a .ttf, .otf or .ttc file, or leave FONT_PATH unset": "请给出 .ttf、.otf 或 .ttc 文件，或不设置 FONT_PATH",
    "the same run is given twice": "两次给出的是同一次运行",
    "name another run to compare with": "请给出另一次运行来比较",
    "has no task in common with {}: {}": "与 {} 没有共同的任务: {}",
    "prompts that differ": "题目内容不同",
    "no common task_id": "没有相同的 task_id",
    "compare runs over the same tasks: a task is the same by task_id and prompt": (
        "请比较同一批任务上的运行: task_id 与题目相同才算同一任务"
    ),
    "has no rival in common with {}": "与 {} 没有共同的对手",
    "compare runs against the same rivals: a rival is the same by its author's name": (
        "请比较面对相同对手的运行: 作者名相同才算同一对手"
    ),
    # --- asking servers ---
    "no server could be reached:\n{}": "没有可用的服务器:\n{}",
    "./start_vllm.sh starts them, ./check_vllm.sh shows how they are": "./start_vllm.sh 启动，./check_vllm.sh 查看状态",
    "the servers do not serve one and the same model:\n{}": "各服务器的模型不一致:\n{}",
    "choose with --model": "请用 --model 选定",
    "no server serves {}; served: {}": "没有服务器提供 {}；现有: {}",
    "{} does not apply the {} of row {}: {}; it said: {}": "{0} 没有执行行 {2} 的输出约束（{1}）: {3}；它的回复: {4}",
    "start vLLM with --structured-outputs-config (start_vllm.sh does), or check the model's support": (
        "请带 --structured-outputs-config 启动 vLLM（start_vllm.sh 已带），或确认模型支持"
    ),
    "cannot connect ({})": "无法连接（{}）",
    "no connection in time": "连接超时",
    "connection lost ({})": "连接中断（{}）",
    "no answer within {} s": "{} 秒内没有应答",
    "HTTP {}: the key is refused; set VLLM_API_KEY": "HTTP {}: 密钥被拒绝，请设置 VLLM_API_KEY",
    "/models says HTTP {}": "/models 返回 HTTP {}",
    "/models is not what an OpenAI server says": "/models 的返回不像 OpenAI 服务器",
    "looks healthy, but generates nothing ({})": "看似正常，但不生成内容（{}）",
    "looks healthy, but generates nonsense ({})": "看似正常，但生成的内容不成形（{}）",
    "looks healthy, but says HTTP {}": "看似正常，但返回 HTTP {}",
    "no token in time": "未及时生成 token",
    "no answer in time": "应答超时",
    "it says that it is busy": "服务器报告繁忙",
    "not a sign of life for {} s": "{} 秒没有任何动静",
    "it takes requests and generates nothing, for {} s": "收下请求却 {} 秒没有生成任何内容",
    "serves {} now, not {}": "现在提供的是 {}，而不是 {}",
    "serves {}, not {}": "提供的是 {}，而不是 {}",
    "no model": "没有模型",
    # --- the servers themselves ---
    "{} is no command that can be run": "{} 不是可以运行的命令",
    "check its spelling and PATH": "请检查拼写和 PATH",
    "the tiny model could not be written:\n{}": "无法生成微型模型:\n{}",
    "the tiny model cannot be written: {}": "无法生成微型模型: {}",
    "see above": "见上文",
    "pip install -e '.[cpu]'; a torchvision that does not load must go: pip uninstall torchvision": (
        "pip install -e '.[cpu]'；无法加载的 torchvision 请卸载: pip uninstall torchvision"
    ),
    "no Python sources under {} to train a tokenizer on": "{} 下没有可用来训练分词器的 Python 源码",
    "use a complete Python": "请使用完整的 Python",
    "one folder is wanted": "需要给出一个目录",
    "an NVIDIA card seems to be here ({}) but cannot be used: {}": "似乎有 NVIDIA 显卡（{}），但无法使用: {}",
    "make `nvidia-smi` work (was the driver updated? reboot), or VLLM_DEVICE=cpu for servers on the CPU": (
        "请先让 `nvidia-smi` 正常（驱动更新过？请重启），或用 VLLM_DEVICE=cpu 在 CPU 上运行"
    ),
    "the start was given up": "已放弃启动",
    "start again": "请重新启动",
    "CUDA_VISIBLE_DEVICES={} leaves none of the {} GPUs here": "CUDA_VISIBLE_DEVICES={} 使本机 {} 块 GPU 都不可见",
    "CUDA_VISIBLE_DEVICES={} names slices of a GPU (MIG), which servers started here cannot be given": (
        "CUDA_VISIBLE_DEVICES={} 指定了 GPU 切片（MIG），无法交给在此启动的服务器"
    ),
    "give whole GPUs; or start a server on each slice yourself, and give their addresses": (
        "请给出整张 GPU；或自行在每个切片上启动服务器，再给出其地址"
    ),
    "unset CUDA_VISIBLE_DEVICES, or VLLM_DEVICE=cpu for servers on the CPU": (
        "请取消 CUDA_VISIBLE_DEVICES，或用 VLLM_DEVICE=cpu 在 CPU 上运行"
    ),
    "the environment {} holds {}": "环境 {} 中装有 {}",
    "leave it (deactivate) and run the script again: it makes .venv; if this is .venv, remove it first": (
        "请退出该环境（deactivate）再运行脚本，它会创建 .venv；若这就是 .venv，请先删除"
    ),
    "set MODEL to a model of yours, or {}": "请把 MODEL 设为你的模型，或 {}",
    "VLLM_PRESET=NAME; these fit here: {}": "VLLM_PRESET=NAME；本机可用: {}",
    "no preset fits these GPUs": "没有适合这些 GPU 的预设",
    "MODEL is not set, and the default {} is not here": "没有设置 MODEL，而默认的 {} 不在本机",
    "{} needs {} GiB of GPU memory an instance; {} GiB are there": "{} 每个实例需要 {} GiB 显存，现有 {} GiB",
    "VLLM_DEVICE=cpu serves it on the CPU, --base-url asks other servers; without --model a tiny one is tried": (
        "VLLM_DEVICE=cpu 在 CPU 上运行它，--base-url 使用其他服务器；不写 --model 则用微型模型试跑"
    ),
    "the input has changed while it was read": "输入在读取期间被修改",
    "run the same command again": "请再次运行同一命令",
    "{}, but there is no sign of an NVIDIA GPU on this machine": "{}，但本机没有 NVIDIA GPU 的迹象",
    "VLLM_DEVICE=cpu serves a model on the CPU; unset MODEL to try everything with a tiny random model": (
        "VLLM_DEVICE=cpu 可在 CPU 上提供模型；不设 MODEL 则用微型随机模型试跑全流程"
    ),
    "TENSOR_PARALLEL_SIZE={}, but only {} GPU(s) can be used here": "TENSOR_PARALLEL_SIZE={}，但本机只有 {} 块可用 GPU",
    "TENSOR_PARALLEL_SIZE={} or less": "TENSOR_PARALLEL_SIZE={} 或更小",
    'GPU_GROUPS="{}": no GPU {} here': 'GPU_GROUPS="{}": 本机没有 GPU {}',
    "the GPUs to use here are {}": "本机可用的 GPU 是 {}",
    'GPU_GROUPS="{}" makes {} instances, VLLM_PORTS names {}': 'GPU_GROUPS="{}" 有 {} 个实例，VLLM_PORTS 有 {} 个端口',
    "name as many ports as groups": "端口数请与分组数相同",
    'TENSOR_PARALLEL_SIZE={} does not match GPU_GROUPS="{}"': 'TENSOR_PARALLEL_SIZE={} 与 GPU_GROUPS="{}" 不符',
    "unset TENSOR_PARALLEL_SIZE: the size of the group is used": "请取消 TENSOR_PARALLEL_SIZE，按分组大小即可",
    "server {} (port {}) cannot be started: {}: {}": "服务器 {}（端口 {}）无法启动: {}: {}",
    "pip install -e '.[vllm]' in the environment you use, or ./start_vllm.sh, which does it": (
        "请在所用环境中 pip install -e '.[vllm]'，或用 ./start_vllm.sh 自动安装"
    ),
    "server {} (port {}) {}; the last lines of {}:\n\n{}\n": "服务器 {}（端口 {}）{}；{} 的最后几行:\n\n{}\n",
    "does not answer after {} s": "{} 秒后仍无应答",
    "ended while starting ({})": "启动时退出（{}）",
    "ended while starting": "启动时退出",
    "exit code {}": "退出码 {}",
    "killed by {}": "被 {} 终止",
    "read {}": "请查看 {}",
    "take less of the GPU: GPU_MEMORY_UTILIZATION=0.90, a smaller MAX_MODEL_LEN; nvidia-smi shows other users": (
        "请少占显存: GPU_MEMORY_UTILIZATION=0.90，或减小 MAX_MODEL_LEN；nvidia-smi 可查看其他占用者"
    ),
    "set a smaller MAX_MODEL_LEN, or give an instance more GPUs (TENSOR_PARALLEL_SIZE)": (
        "请减小 MAX_MODEL_LEN，或给每个实例更多 GPU（TENSOR_PARALLEL_SIZE）"
    ),
    "another process took the port: end it, or choose other VLLM_PORTS": (
        "端口被其他进程占用: 请结束它，或换 VLLM_PORTS"
    ),
    "set a TENSOR_PARALLEL_SIZE that divides the model's heads: 1, 2, 4 or 8": (
        "TENSOR_PARALLEL_SIZE 须能整除模型的注意力头数: 1、2、4 或 8"
    ),
    "MODEL must be a folder with a model, or a name on the Hugging Face hub, if that can be reached": (
        "MODEL 应是模型目录，或 Hugging Face 上的名称（须能访问）"
    ),
    "pip install -e '.[vllm]' for GPUs, '.[cpu]' without, in the environment that you use": (
        "请在所用环境中安装: 有 GPU 用 pip install -e '.[vllm]'，没有用 '.[cpu]'"
    ),
    "this vLLM does not know a flag: look at VLLM_EXTRA_ARGS, and at `vllm --version`": (
        "此版本的 vLLM 不认识某个参数: 请检查 VLLM_EXTRA_ARGS 和 `vllm --version`"
    ),
    "process {} belongs to another user": "进程 {} 属于其他用户",
    "stop it as the user who started it": "请由启动它的用户停止",
    "GPU_GROUPS={} names a GPU twice, or none in a group": "GPU_GROUPS={} 中有重复的 GPU 或空分组",
    "{}={} is no whole number from {} up": "{}={} 不是从 {} 起的整数",
    "unset {} for the default": "取消 {} 即用默认值",
    "{}={} is no share between 0 and 1": "{}={} 不是 0 到 1 之间的比例",
    "{}={} is none of {}": "{}={} 不在可选值 {} 中",
    "VLLM_PRESET={}: {} cannot be read": "VLLM_PRESET={}: 无法读取 {}",
    "presets here: {}": "现有预设: {}",
    "{}={} cannot be split into arguments: {}": "{}={} 无法拆成参数: {}",
    "balance its quotes": "请配对引号",
    "port {} is taken by something that is no vLLM server: {}": "端口 {} 被非 vLLM 程序占用: {}",
    "a process of another user": "其他用户的进程",
    "end it, or choose other ports: VLLM_PORTS (lsof -i :{} shows it)": (
        "请结束它，或换端口 VLLM_PORTS（lsof -i :{} 可查看）"
    ),
    "port {} already serves {}, not {}": "端口 {} 已在提供 {}，而不是 {}",
    "./stop_vllm.sh first if it is yours, or set VLLM_PORTS (and MODEL) to what is to be used": (
        "若是你的服务请先 ./stop_vllm.sh，或把 VLLM_PORTS（及 MODEL）设为要用的"
    ),
    "{} belongs to a running server on port {}, not {}": "{} 属于端口 {} 上正在运行的服务器，而不是 {}",
    "./stop_vllm.sh first, or another folder in VLLM_LOG_DIR": "请先 ./stop_vllm.sh，或换一个 VLLM_LOG_DIR",
    "{}: logs and pid files cannot be written there: {}": "{}: 无法写入日志和 pid 文件: {}",
    "VLLM_LOG_DIR=a folder that can be written": "VLLM_LOG_DIR=可写的目录",
    "processes {} of the server on port {} outlive SIGKILL": "端口 {1} 上服务器的进程 {0} 在 SIGKILL 之后仍未结束",
    "a driver or a disk holds them (state D in ps): look at dmesg; only a reboot may help": (
        "被驱动或磁盘卡住（ps 中状态为 D）: 请看 dmesg；可能只有重启有效"
    ),
}


def in_chinese(text: str) -> str:
    """Return a sentence of ours in Chinese, values in it too where they are ours; any other text as it is.

    Of several sentences that could be meant, the one with most words of its own is: values are the rest.
    """
    found = [(_own_length(english), english, match) for english in ZH if (match := _pattern(english).fullmatch(text))]
    if not found:
        return "\n".join(map(_line, text.split("\n"))) if "\n" in text else text
    _, english, match = max(found, key=lambda one: one[0])
    values = [_value(value) for value in match.groups()]
    numbers = iter(range(len(values)))
    return _PLACE.sub(lambda place: values[int(place[1]) if place[1] else next(numbers)], ZH[english])


def _value(text: str) -> str:
    """Translate a value that is a sentence itself; one of few words could as well be somebody else's."""
    return in_chinese(text) if text in ZH or len(text) >= SHORTEST_VALUE else text


SHORTEST_VALUE = 12

_PLACE = re.compile(r"\{(\d*)\}")
_LISTED = re.compile(r"(\s*https?://\S+: )(.+)")


def _line(line: str) -> str:
    """Translate what is said of a server in a list of them."""
    listed = _LISTED.fullmatch(line)
    return listed[1] + in_chinese(listed[2]) if listed else line


@cache
def _pattern(english: str) -> re.Pattern[str]:
    return re.compile("(.*?)".join(map(re.escape, english.split("{}"))), re.DOTALL)


def _own_length(english: str) -> int:
    return len(english) - 2 * english.count("{}")
