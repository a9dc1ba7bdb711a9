"""The site's Markdown and code highlighting."""

import re

import pytest

from numpygpt.study import lessons
from numpygpt.study.lessons.code import code
from numpygpt.study.lessons.markdown import inline, to_html


@pytest.mark.parametrize(
    "text, expected",
    [
        ("One line\nand another", "<p>One line\nand another</p>"),
        ("## What *if*?", '<h2 id="what-if">What <em>if</em>?</h2>'),
        ("**1.** Why `a < b`?", "<p><b>1.</b> Why <code>a &lt; b</code>?</p>"),
        ("2 * 3 * 4", "<p>2 * 3 * 4</p>"),
        ("`dx * dy` and `a**2`", "<p><code>dx * dy</code> and <code>a**2</code></p>"),
        ("[a *word*](#word)", '<p><a href="#word">a <em>word</em></a></p>'),
        ("    a\n\n      b\n\nc", "<pre>a\n\n  b</pre>\n<p>c</p>"),
        ("- one\n- two\n  more", "<ul><li>one</li><li>two\n  more</li></ul>"),
        ("1. one\n2. two", "<ol><li>one</li><li>two</li></ol>"),
        ("0. no list", "<p>0. no list</p>"),
        ("- 1 and -2", "<ul><li>1 and -2</li></ul>"),
        ("| a | b |\n|---|---|\n| **c** | d |", "<tr><th>a</th><th>b</th></tr><tr><td><b>c</b></td><td>d</td></tr>"),
        ("<details><summary>A `b`</summary>", "<details><summary>A <code>b</code></summary>"),
        ("</details>", "</details>"),
        ("a <script> & b", "<p>a &lt;script&gt; &amp; b</p>"),
        (r"$$ \frac{1}{2} $$", '<math display="block"><mfrac><mn>1</mn><mn>2</mn></mfrac></math>'),
    ],
)
def test_markdown_is_converted_to_html(text, expected):
    assert expected in to_html(text)


def test_links_are_rewritten_for_the_page():
    assert inline("[x](#y)", lambda link: f"glossary.html{link}") == '<a href="glossary.html#y">x</a>'


@pytest.mark.parametrize("number", lessons.FILES)
def test_a_lessons_markdown_is_converted_completely(number):
    for cell in lessons.lesson(number).cells():
        if cell.kind == "markdown":
            shown = re.sub(r"<(code|pre)>.*?</\1>", "", to_html(cell.text), flags=re.DOTALL)
            assert not re.search(r"\*\*|`|\$\$|\]\(|^#|^\|", shown, re.MULTILINE), shown


def test_highlighting_loses_no_code():
    text = 'def f(x):  # <b>\n    """doc\n    more"""\n    return x if "a" < x else None\n'
    shown = code(text)
    assert '<span class="k">def</span>' in shown and '<span class="c"># &lt;b&gt;</span>' in shown
    assert '<span class="s">"""doc\n    more"""</span>' in shown.replace("&quot;", '"')
    plain = re.sub(r"</?(span|pre)[^>]*>", "", shown)
    assert plain.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", '"') == text
