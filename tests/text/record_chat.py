"""Renders chat templates with the engine of transformers, and writes template, messages and text.

Usage: python record_chat.py > ../data/text/chat.json   (transformers 5.24)
"""
import json

from transformers.utils.chat_template_utils import render_jinja_template

TEMPLATES = {
    "chatml": "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}",
    "headers": "{% set loop_messages = messages %}{% for message in loop_messages %}"
    "{% set content = '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n'+ message['content'] | trim + '<|eot_id|>' %}"
    "{% if loop.index0 == 0 %}{% set content = bos_token + content %}{% endif %}{{ content }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}",
    "lines": """{% for message in messages %}
    {% if message['role'] == 'user' %}
{{ '<|user|>\n' + message['content'] + eos_token }}
    {% elif message['role'] == 'system' %}
{{ '<|system|>\n' + message['content'] + eos_token }}
    {%- else -%}
{{ '<|assistant|>\n' + message['content'] + eos_token }}
    {%- endif %}

    {# the last one opens the answer #}
    {% if loop.last and add_generation_prompt %}
{{ '<|assistant|>' }}
    {% endif %}
{% endfor %}
""",
    "instruct": "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{% set system = messages[0]['content'] ~ '\n\n' %}{% set rest = messages[1:] %}"
    "{% else %}{% set system = '' %}{% set rest = messages %}{% endif %}{% for m in rest %}{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('roles must alternate') }}{% endif %}{% if m.role == 'user' %}{{ '[INST] ' + (system if loop.first else '') + m.content.strip() + ' [/INST]' }}"
    "{% elif m.role == 'assistant' %}{{ ' ' + m.content.strip() + eos_token }}{% endif %}{% endfor %}",
    "namespace": """{%- set ns = namespace(last_user=-1, parts=[]) %}
{%- for m in messages if m.role != 'system' %}
    {%- if m.role == "user" and m.content is string and not (m.content.startswith('<') and m.content.endswith('>')) %}
        {%- set ns.last_user = loop.index0 %}
    {%- endif %}
    {%- if 'think' in m.content %}
        {%- set pieces = m.content.split('</think>') %}
        {%- set ns.parts = ns.parts + [pieces[-1].lstrip('\\n')] %}
    {%- else %}
        {%- set ns.parts = ns.parts + [m.content] %}
    {%- endif %}
{%- else %}
    {{- 'nobody spoke' }}
{%- endfor %}
{{- ns.last_user }}|{{ ns.parts | join(' / ') }}|{{ ns.parts|length }}
{%- if missing is defined and missing %}{{ missing }}{% endif %}
{{- (messages | last).role | upper }} {{ messages[-1].content[:3] }}{{ messages[-1]['content'][::-1] }}
""",
    "values": """{{ messages | tojson }} {{ messages[0] | tojson(indent=2) }}
{{ 7 // 2 }} {{ 7 / 2 }} {{ -7 % 3 }} {{ 2 * 3 + 1 }} {{ 'ab' * 2 }} {{ 1 ~ 'x' ~ none }} {{ [1, 'a', true, none, 1.5] }} {{ {'k': 'v'} }}
{% for k, v in messages[0].items() %}{{ k }}={{ v }};{% endfor %}

{% for i in range(1, 6, 2) %}{{ i }}{{ ',' if not loop.last }}{% endfor %}

{% set block %}inner {{ messages | length }}{% endset %}[{{ block }}]
{% for m in messages %}{% if loop.index > 1 %}{% break %}{% endif %}{{ loop.index }}/{{ loop.length }} {{ loop.nextitem.role if loop.nextitem is defined else 'end' }}{% endfor %}

{{ messages[0].get('tool', 'no tool') }} {{ messages[0].absent | default('d') }} {{ 'x' in 'axb' }} {{ 3 not in [1, 2] }} {{ 'a' < 'b' }} {{ (1 == 1) and not false }}
{{ 'some words here'.title() }} {{ 'LOUD'|lower|capitalize }} {{ ' pad '.rstrip() }}| {{ 'a-b-c'.split('-', 1) }} {{ 'x'.replace('x', 'yy') }} {{ '12' | int + 1 }}
""",
}
TALKS = [
    [{"role": "user", "content": "Hello there"}],
    [{"role": "system", "content": " Be brief. "}, {"role": "user", "content": "Hi!\n"}],
    [{"role": "user", "content": "caf\u00e9 \u2615 'quoted' \"twice\""}, {"role": "assistant", "content": "<think>x</think>\n\nyes "}, {"role": "user", "content": "<tool>"}],
    [{"role": "assistant", "content": "I begin"}],
    [{"role": "system", "content": "only a system"}],
]

cases = []
for name, template in TEMPLATES.items():
    for messages in TALKS:
        for prompt in (False, True):
            case = {"name": name, "template": template, "messages": messages, "add_generation_prompt": prompt}
            try:
                case["rendered"] = render_jinja_template(conversations=[messages], chat_template=template, add_generation_prompt=prompt, bos_token="<s>", eos_token="</s>")[0][0]
            except Exception as error:
                case["error"] = str(error)
            cases.append(case)
print(json.dumps(cases, indent=0))
