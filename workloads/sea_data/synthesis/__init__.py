"""Synthesis: plans -> tasks, verification functions and dialogues, all checked before written.

    planner -> plans -> worker (task by real tool use, verification function, dialogue)
                 ^          -> checkers (blame the task or the trajectory)
                 `- reflection <- failures                    K rounds

`engine` runs that loop over a `Crew`: `procedural` crews need no model, `agents` ask any
OpenAI-compatible endpoint. Every item goes through `journal` (resumable) into `output`, the
published layout. `sea synth` and the job's Synthesis stage both enter through `service`.
"""
