"""How the ranks of a run start and end: processes of our own (`processes.launch`), or torchrun's (`torchrun.join`)."""
