"""Documentation text to clean sentences of English prose.

The steps, in the order in which `clean` takes them:

    paragraphs   lines of plain text, reStructuredText or Markdown -> paragraphs, without code,
                 doctests, tables, headings, directives and field names
    plain text   inline markup -> the words inside it, or a mark that rejects the sentence
    split        a paragraph -> sentences
    is_prose     keep what is an English sentence
    normalise    lower case, punctuation split off

The result has the form in which corpora for language models are usually distributed: lower-cased,
tokens separated by one space, one sentence per string. Three decisions stand behind it:

- Numbers stay as they are, for a user's own sentence then needs no knowledge of a mapping.
- Apostrophes and hyphens inside a word stay in the word ("don't", "built-in"), so that a sentence
  can be typed the way it is written. Every other punctuation mark is a token.
- A doubtful sentence is dropped. There is more text than time to read it, and one line of code
  among a thousand sentences is what a reader of samples notices.
"""

import inspect
import re
from collections.abc import Iterator

MIN_WORDS = 4
MAX_WORDS = 60

# Stands for something that is not prose, and so rejects the sentence around it.
REJECT = "\0"

_ASCII = str.maketrans(
    {"\u2018": "'", "\u2019": "'", "\u201c": '"', "\u201d": '"', "\u2013": " -- ", "\u2014": " -- "}
    | {"\u2026": "...", "\u00a0": " ", "\u200b": None}
)
_ABBREVIATIONS = r"(?:e\.g|i\.e|etc|vs|cf|al|approx|resp|incl|fig|eq|dr|mrs?|ms|prof)\."

_TOKEN = re.compile(
    rf"\b{_ABBREVIATIONS}(?!\s*$)"  # a dot that ends the sentence is a token of its own
    r"|\d+(?:[.,:]\d+)*(?![\w'-])"
    r"|\w+(?:['-]\w+)*"
    r"|\.{2,}|-{2,}|\S"
)


def normalise(sentence: str) -> str:
    """Bring a sentence into the form of the training text; apply it to a user's sentence too.

    Args:
        sentence: text of one sentence, as a person would write it.

    Returns:
        The tokens, lower-cased and separated by one space; "" for a blank sentence.
    """
    return " ".join(_TOKEN.findall(sentence.translate(_ASCII).lower()))


def clean(text: str) -> Iterator[str]:
    """Find the English sentences of documentation text.

    Args:
        text: a docstring or another piece of plain text, reStructuredText or Markdown, as it
            stands in its source (any indentation).

    Yields:
        Sentences as `normalise` writes them, of `MIN_WORDS` to `MAX_WORDS` words, each with a
        letter at its start and one of . ! ? at its end, in the order of the text.
    """
    for paragraph in paragraphs(text.translate(_ASCII)):
        for sentence in split_sentences(_plain_text(paragraph)):
            if is_prose(sentence):
                yield normalise(sentence)


_FENCE = re.compile(r"(?:```|~~~)[^`]*$")
_DOCTEST = re.compile(r"(?:>>>|\.\.\.|\$|%|In ?\[\d*\]:|Out\[\d+\]:)(?:\s|$)")
_DIRECTIVE = re.compile(r"\.\. ?\S")
# Directives whose content is prose. Any other one (code-block, math, list-table...) is dropped.
_ADMONITION = re.compile(
    r"\.\. (?:note|warning|tip|hint|important|caution|attention|seealso|versionadded|"
    r"versionchanged|deprecated)::\s*[\d.]*\s*"
)
_UNDERLINE = re.compile(r"([=\-~^*#+\"'`._])\1{2,}$")
_BULLET = re.compile(r"(?:[-*+\u2022]|\(?(?:\d{1,2}|[a-zA-Z])[.)]|#\.|#{1,6})\s+")
# ":param int size: The size." and "size (int, optional): The size." keep what follows the name.
_FIELD = re.compile(
    r":[a-z]+(?: [^:]{1,60})?:\s+"
    r"|(?:Changed|New|Added|Deprecated) in version [\d.]+[:.]\s+"
    r"|[*`]{0,2}[A-Za-z_][\w.]*[*`]{0,2}(?: ?\([^()]{1,80}(?:\([^()]*\))?[^()]*\))?"
    r"(?::| --?) +(?=[A-Z])"
)
# Parts of words: "license", "licence", "licensed"...
_BOILERPLATE = (
    *("copyright", "licens", "licence", "warrant", "liabilit", "redistribut", "hereby"),
    *("all rights reserved", "(c)"),
)


def paragraphs(text: str) -> Iterator[str]:
    """Join wrapped lines into paragraphs and leave out what is laid out as something else.

    A paragraph ends at a blank line, at a change of indentation, and where a list item or a field
    begins. Literal blocks, doctests with their output, directives that don't hold prose, headings
    with their underline, the names of fields, and licence texts are left out.

    Args:
        text: documentation text.

    Yields:
        Paragraphs, each on one line.
    """
    block: list[str] = []
    indent: int | None = None  # None after the mark of a list item: the next line decides
    for depth, line in (*_prose_lines(inspect.cleandoc(text).split("\n")), (0, "")):
        mark = _ADMONITION.match(line) or _BULLET.match(line) or _FIELD.match(line)
        if _UNDERLINE.match(line):
            block = []  # what stood above the underline was a heading
        elif not line or mark or indent not in (None, depth):
            paragraph = " ".join(block)
            if paragraph and not _is_boilerplate(paragraph):
                yield paragraph
            block = []
        if line and not _UNDERLINE.match(line):
            # A second mark: "- name: The name."
            rest = line[mark.end() :] if mark else line
            field = _FIELD.match(rest) if mark else None
            block.append(rest[field.end() :] if field else rest)
            indent = None if mark else depth


def _is_boilerplate(paragraph: str) -> bool:
    lowered = paragraph.lower()
    # Several times as fast as one regular expression.
    return any(part in lowered for part in _BOILERPLATE)


def _prose_lines(lines: list[str]) -> Iterator[tuple[int, str]]:
    """Yield (indentation, stripped line) without literal blocks, which become blank lines."""
    hidden: int | None = None  # lines indented deeper than this belong to a literal block
    fenced = in_doctest = False
    for raw in lines:
        line = raw.strip()
        depth = len(raw) - len(raw.lstrip())
        if _FENCE.match(line):
            fenced, line = not fenced, ""
        in_doctest = bool(line) and (in_doctest or bool(_DOCTEST.match(line)))
        if not line or fenced or in_doctest:
            yield 0, ""
        elif hidden is not None and depth > hidden:
            continue
        elif _DIRECTIVE.match(line) and not _ADMONITION.match(line):
            hidden = depth
            yield 0, ""
        else:
            hidden = depth if line.endswith("::") and not _ADMONITION.match(line) else None
            yield depth, line


_ROLE = re.compile(r":[a-z][\w:+.-]*:`([^`]*)`")
_LINK = re.compile(r"`([^`<]+?)\s*<[^`>]*>`__?|(?<!`)`([^`]+)`__?(?!\w)|\[([^\]]+)\]\([^)\s]*\)")
_FOOTNOTE = re.compile(r"\s*\[[#*\w-]+\]_")
_LITERAL = re.compile(r"``(.+?)``|`([^`]+)`")
_EMPHASIS = re.compile(r"(?<![\w*])(\*\*?)(?=[^\s*])([^*]*[^\s*])\1(?![\w*])")
_QUOTED_WORD = re.compile(r"(?<![\w'\"])([\"'])([A-Za-z]+)\1(?![\w'\"])")
_PLAIN_WORD = re.compile(r"[A-Za-z]+(?:-[a-z]+)*")


def _word_or_reject(match: re.Match[str]) -> str:
    """Replace marked-up text by itself where it is a plain word."""
    content = next(group for group in match.groups() if group is not None)
    return content if _PLAIN_WORD.fullmatch(content) else REJECT


def _plain_text(paragraph: str) -> str:
    """Replace inline markup by its words, or by `REJECT` where it marks something else."""
    if "[" in paragraph:
        paragraph = _FOOTNOTE.sub("", paragraph)
    if "`" in paragraph or "](" in paragraph:
        paragraph = _ROLE.sub(_word_or_reject, paragraph)
        paragraph = _LINK.sub(lambda match: match[1] or match[2] or match[3], paragraph)
        paragraph = _LITERAL.sub(_word_or_reject, paragraph)
    if "*" in paragraph:
        paragraph = _EMPHASIS.sub(r"\2", paragraph)
    # Much documentation quotes a word where others set it in code font.
    return _QUOTED_WORD.sub(r"\2", paragraph)


_SENTENCE_END = re.compile(r"[.!?][\"')]*\s+(?=[\"'(]*[A-Z])")
# A sentence may end in "etc.", which is why it isn't here.
_NO_END = re.compile(
    r"(?:^|[\s(\"])(?:e\.g|i\.e|vs|cf|al|approx|resp|incl|[Ff]ig|[Ee]q|Dr|Mrs?|Ms|Prof|[A-Z])$"
)


def split_sentences(paragraph: str) -> list[str]:
    """Split where . ! or ? is followed by a capital letter, unless after an abbreviation.

    Args:
        paragraph: text on one line.

    Returns:
        The sentences, stripped; the last one may lack an end.
    """
    sentences = []
    start = 0
    for end in _SENTENCE_END.finditer(paragraph):
        if not _NO_END.search(paragraph, start, end.start()):
            sentences.append(paragraph[start : end.end()].strip())
            start = end.end()
    return [*sentences, paragraph[start:].strip()]


# No identifiers, and none of the marks of unfinished work.
_WORD = (
    r"(?!\w*[a-z][A-Z]|\w*[A-Z]{2}[a-z]{2}|(?:TODO|FIXME|XXX)\b)"
    r"[A-Za-z]{1,24}(?:'[a-z]{1,2})?(?:-[A-Za-z0-9]{1,20}){0,4}\d{0,3}'?"
)
_PROSE_WORD = re.compile(
    rf"[\"(]*(?:{_WORD}(?:/{_WORD})?|\d+(?:[.,:]\d+)*(?:%|st|nd|rd|th)?|\d+-[a-z]+|(?i:{_ABBREVIATIONS}))"
    r"[\")]*[,;:]?[\")]*|--?"
)
_ALPHABETIC = re.compile(r"[\"(]*[A-Za-z'/-]+[\"),;:]*")
_FUNCTION_WORDS = frozenset(
    re.findall(
        r"\w+",
        """
        a an the this that these those it its they them their he she we you your i our one
        is are was were be been being has have had do does did can could may might must shall
        should will would not no and or but if then else when while because so than as of in on at
        by for from to into with without about between after before until which who whose what
        where how there here all any each every some such only other same
        """,
    )
)


def is_prose(sentence: str) -> bool:
    """Whether a sentence is an English one, rather than code, a table or a fragment.

    Every word has to look like an English word or a number: an identifier (snake_case, CamelCase,
    dotted, called), an operator, a path or an address anywhere rejects the sentence.

    Args:
        sentence: text without markup.
    """
    if not sentence[:1].isupper() or sentence[-1] not in ".!?":
        return False
    words = sentence[:-1].split()
    if not MIN_WORDS <= len(words) <= MAX_WORDS or not all(map(_PROSE_WORD.fullmatch, words)):
        return False
    if sentence.count("(") != sentence.count(")") or sentence.count('"') % 2:
        return False
    alphabetic = sum(map(bool, map(_ALPHABETIC.fullmatch, words)))
    shouted = sum(word.isupper() and len(word) > 1 for word in words)
    function_words = sum(word.lower().strip('"(),;:') in _FUNCTION_WORDS for word in words)
    return (
        alphabetic >= 0.75 * len(words)
        and shouted <= len(words) / 3
        and function_words >= max(1, len(words) // 6)
    )
