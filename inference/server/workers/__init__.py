"""One server of several processes: a host that holds the models, and web workers that speak HTTP before it.

link: frames between the two · board: memory that both read · crew: the host's side · host: its process · mirror: the host's
fleet as a worker sees it · worker: a worker's process · figures: metrics of all of them as one answer.
"""
