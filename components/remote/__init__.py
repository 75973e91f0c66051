"""The DVC remote: artifacts by content id, records, and checkpoints of running steps, for processes that share no disk.

Layout under the remote's URL (the first line is DVC's own, so `dvc pull` reads what is pushed here and the reverse):

    files/md5/ab/cdef...                       objects by content id; a `.dir` object lists the files of a folder
    preflow/records/<identity>.json            the record of a step; written last, so it means that everything is there
    preflow/records/<identity>.execution.json  where and how long it ran
    preflow/made/<oid>/<identity>              empty: this step made this artifact
    preflow/checkpoints/<identity>/...                the checkpoint of a step that is running or was interrupted
"""

from components.remote.remote import Remote

__all__ = ["Remote"]
