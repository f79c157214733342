"""The 1-against-N judge: what is asked, what an answer means, how answers become wins, ties and losses.

    tasks      a JSONL file  -> Task(target, rivals)
    cells      Task          -> Cell(rival, order, sample) -> request body
    audit      tasks         -> more cells, which check the judge; `edits` makes what they show
    robin      Task          -> Cell(rival against rival), where a ranking is asked for
    verdicts   reply text    -> Verdict, or ReplyError
    folding    Task + replies -> one record of per_task.jsonl; `evidence` holds verdicts against measured facts

`prompts/` and `schema` hold what the model sees, `labels` and `issues` the fixed words of a verdict, `families` the
names of models that are kin, `measured` is a judge that needs no model. Nothing here opens a socket or knows which
server answered: a reply is text that came from somewhere.
"""
