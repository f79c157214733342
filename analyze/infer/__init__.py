"""Task-config inference: rows that a task's own code reads and formats, replies that it extracts answers from.

    configs/<task>/ ──> rows ──> requests ──> (runs.filejob asks) ──> results/infer ──> results/extract, text, page
    `tasks`, `nocode`   `rows`               `engines`: servers,     `segments`        `extracting`, `page`
                                             fleet, or `workers`
`command` is the front; the journal of a run is `results/infer`. Nothing here sends anything itself.
"""
