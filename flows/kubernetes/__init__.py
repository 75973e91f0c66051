"""The `kubernetes` runner: one Job per step, from the component's spec and a profile of k8s/profiles.

cluster.py   the profile: image, queue, storage, limits of one cluster
render.py    step + profile -> Job (and Service for a gang), over the template k8s/job.yaml
api.py       the API server through the official client: one door, errors a person can act on
watch.py     list + watch that goes on after a lost connection; a pod's log across reconnects
status.py    documents -> what is going on, and how it ended (pure)
failures.py  the ways in which a step on a cluster fails, each with its remedy
claim.py     whose a Job is: submit, adopt or join it, give signs of life
attempt.py   one Job of a step, watched to its end; nothing left behind
runner.py    attempts until one is done; lost pods count as no failure
cache.py     what has been made already, by anyone who shares the DVC remote
check.py     before anything runs: permissions, names, a server-side dry run
sweep.py     what crashed drivers left behind
"""
