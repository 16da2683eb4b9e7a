"""Tagged tokens of functions of Python's standard library.

Each token of a function is tagged with its role. For a name this takes context: the same word may
be a parameter, a local variable, a global one or an attribute, and parameters are listed only at
the beginning of the function.
"""

from __future__ import annotations

import ast
import bisect
import builtins
import io
import keyword
import pathlib
import tokenize
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set

from tag_data import Corpus, Sentence

from recur.text import python_sources, read_text, split_by_hash

HELD_OUT_ONE_IN = 10  # files, for validation, and as many for the test
LONGEST = 80  # tokens of a function
_SKIPPED = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT)
_BUILTINS = frozenset(dir(builtins))
_FUNCTIONS = ast.FunctionDef | ast.AsyncFunctionDef
_IMPORTS = ast.Import | ast.ImportFrom

Place = tuple[int, int]  # row, from 1, and column in bytes, from 0


def read_python(one_file_in: int = 1) -> Corpus:
    """Tags functions of Python's standard library, and holds out whole files.

    Args:
      one_file_in: one file in so many is read.
    """
    sources = python_sources()
    if one_file_in > 1:
        read = _held_out("read", sources, one_file_in)
        sources = {name: text for name, text in sources.items() if name in read}
    test = _held_out("test", sources, HELD_OUT_ONE_IN)
    validation = _held_out("validation", sources, HELD_OUT_ONE_IN) - test
    parts: tuple[list[Sentence], ...] = ([], [], [])
    for name, source in sources.items():
        part = 2 if name in test else 1 if name in validation else 0
        parts[part].extend(tag_functions(source))
    return Corpus(*parts)


def _held_out(split: str, names: Iterable[str], one_in: int) -> set[str]:
    """The names that are held out by a split of this name."""
    keys = {f"{split} {name}": name for name in names}
    return set(split_by_hash(keys, one_in)[1].values())


def read_functions(path: pathlib.Path) -> list[Sentence]:
    """Tags the functions of a file, as `tag_functions` does."""
    source = read_text(path)
    try:
        found = list(tag_functions(source))
    except SyntaxError as error:
        raise ValueError(f"{path}:{error.lineno}: expected Python, got {error.msg}.") from error
    if not found:
        raise ValueError(f"{path}: expected functions of at most {LONGEST} tokens, got none.")
    return found


def tag_functions(source: str) -> Iterator[Sentence]:
    """Tags the tokens of each function and method of a source file.

    A nested function is part of the one around it. Functions of more than `LONGEST` tokens are left
    out, and those with statements whose names the syntax tree does not locate, such as imports.

    The tags are the kinds of tokens (keyword, operator, number, string) and the roles of names:
    definition (after def and class), parameter, variable (bound in the function), imported (at the
    top of the file), builtin, global (all others); attribute and method (after a dot, without and
    with a call); and argument (before = in a call).
    """
    tree, lines = ast.parse(source), source.split("\n")
    tokens = [
        token
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type not in _SKIPPED and token.string
    ]
    places = [(row, len(lines[row - 1][:column].encode())) for row, column in
              (token.start for token in tokens)]  # fmt: skip
    top = [alias for node in tree.body if isinstance(node, _IMPORTS) for alias in node.names]
    imported = {(alias.asname or alias.name).split(".")[0] for alias in top}
    builtin = _BUILTINS - _names_bound(tree)
    for function in _outer_functions(tree):
        first = bisect.bisect_left(places, (function.lineno, function.col_offset))
        last = bisect.bisect_left(places, (function.end_lineno, function.end_col_offset))
        if last - first <= LONGEST:
            roles = _roles(function, imported, builtin)
            tags = _tags(tokens[first:last], places[first:last], roles)
            if None not in tags:
                yield Sentence([_word(token) for token in tokens[first:last]], tags)


def _outer_functions(tree: ast.AST) -> Iterator[_FUNCTIONS]:
    """Yields the functions that are not inside of another."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, _FUNCTIONS):
            yield node
        else:
            yield from _outer_functions(node)


def _names_bound(tree: ast.AST) -> set[str]:
    """The names that are assigned or defined anywhere in a tree."""
    bound = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            bound.add(node.id)
        elif isinstance(node, ast.ClassDef | _FUNCTIONS | ast.ExceptHandler) and node.name:
            bound.add(node.name)
    return bound


def _roles(function: _FUNCTIONS, imported: set[str], builtin: Set[str]) -> dict[Place, str]:
    """The roles of names in a function, by place."""
    nodes = list(ast.walk(function))
    local = set().union(*map(_names_bound, function.body))
    parameters = {node.arg for node in nodes if isinstance(node, ast.arg)}
    called = {id(node.func) for node in nodes if isinstance(node, ast.Call)}
    of_name = dict.fromkeys(builtin, "builtin") | dict.fromkeys(imported, "imported")
    of_name |= dict.fromkeys(local, "variable") | dict.fromkeys(parameters, "parameter")
    roles = {}
    for node in nodes:
        if isinstance(node, ast.Name):
            roles[node.lineno, node.col_offset] = of_name.get(node.id, "global")
        elif isinstance(node, ast.Attribute):
            column = node.end_col_offset - len(node.attr.encode())
            roles[node.end_lineno, column] = "method" if id(node) in called else "attribute"
        elif isinstance(node, ast.arg):
            roles[node.lineno, node.col_offset] = "parameter"
        elif isinstance(node, ast.keyword) and node.arg:
            roles[node.lineno, node.col_offset] = "argument"
    return roles


def _tags(
    tokens: Sequence[tokenize.TokenInfo], places: Sequence[Place], roles: Mapping[Place, str]
) -> list[str | None]:
    """The tag of each token; None for a name whose role is not found."""
    tags: list[str | None] = []
    before = ""
    for token, place in zip(tokens, places, strict=True):
        kinds = {tokenize.OP: "operator", tokenize.NUMBER: "number"}
        if token.type != tokenize.NAME:
            tags.append(kinds.get(token.type, "string"))
        elif before in ("def", "class"):
            tags.append("definition")
        elif before == "as" and place not in roles:
            tags.append("variable")  # of an except clause
        else:
            word = "keyword" if keyword.iskeyword(token.string) else None
            tags.append(roles.get(place, word))
        before = token.string
    return tags


def _word(token: tokenize.TokenInfo) -> str:
    """The text of a token; that of a string is left out."""
    return token.string if token.type in (tokenize.NAME, tokenize.OP, tokenize.NUMBER) else '"…"'
