"""Synthesis of training data: tasks, verification functions and dialogues, checked by execution.

    planner -> plans -> worker: candidate (task by real tool calls, function, dialogue)
                 ^         -> checkers (blame the task or the trajectory)
                 `- reflection <- failures                                        K rounds

`service` is the entry point of `sea synth` and of the job's Synthesis stage. `engine` runs the loop
over a `backend`: `procedural` needs no model, `agents` asks any OpenAI-compatible endpoint. Every
result goes through the `journal`, from which a killed run resumes, into the `dataset`.
"""
