"""Jinja chat template of the tiny model: the same text that `Renderer` makes, for other tools.

transformers and vLLM's chat endpoint use it; our own loop is token-in, token-out and doesn't.
"""

CHAT_TEMPLATE = """\
{%- for message in messages -%}
{%- if message.role == 'tool' -%}
{%- if loop.first or messages[loop.index0 - 1].role != 'tool' -%}
{{- '<|im_start|>user\\n' -}}
{%- endif -%}
{{- '<tool_response>' + (message.content or '') + '</tool_response>' -}}
{%- if loop.last or messages[loop.index0 + 1].role != 'tool' -%}
{{- '<|im_end|>' -}}
{%- endif -%}
{%- else -%}
{{- '<|im_start|>' + message.role + '\\n' + (message.content or '') -}}
{%- for call in message.tool_calls or [] -%}
{%- set call = call.function if call.function is defined else call -%}
{{- '<tool_call>{"name":"' + call.name + '","arguments":' -}}
{{- call.arguments if call.arguments is string
    else call.arguments | tojson(separators=(',', ':'), ensure_ascii=False) -}}
{{- '}</tool_call>' -}}
{%- endfor -%}
{{- '<|im_end|>' -}}
{%- endif -%}
{%- if not loop.last
    and (message.role != 'tool' or messages[loop.index0 + 1].role != 'tool') -%}
{{- '\\n' -}}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}
{{- '\\n<|im_start|>assistant\\n' -}}
{%- endif -%}
"""
