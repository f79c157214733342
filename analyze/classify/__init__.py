"""Classification: one label, or several, for each text of a file.

    labels ─┐
    prompt ─┼─► requests ─► (runs.filejob asks) ─► records ─► metrics, review, summary page
    input ──┘                                  `reading` makes a label of a reply, or says why there is none
`command` is the front; nothing here sends anything itself.
"""
