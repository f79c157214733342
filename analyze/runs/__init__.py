"""What every job stands on: rows get ids, the plan says what is left, the runner asks, the journal keeps.

    requests ──> plan ──> runner ──> journal ──> (files of the job)
                  ▲                     │
                  └──── what is done ───┘
Knows nothing of any one job.
"""
