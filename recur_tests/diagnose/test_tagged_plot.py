"""Pictures of tagged sentences, read back from matplotlib."""

from recur.diagnose import tagged

WORDS = [f"word{n}" + "x" * (n % 7) for n in range(60)]
TAGS = [("noun", "a_long_$tag$", "_v")[n % 3] for n in range(60)]


def test_wrong_tags_are_marked_with_the_target(tmp_path):
    predicted = ["noun" if n == 1 else tag for n, tag in enumerate(TAGS)]
    figure = tagged([(WORDS, TAGS, predicted), (["$5", "_"], ["X", "Y"], ["X", "Y"])], title="$")
    figure.savefig(tmp_path / "tagged.png")
    [axes] = figure.axes
    texts = [text.get_text() for text in axes.texts]
    assert texts[:7] == ["word0", "noun", "word1x", "noun", "(a_long_$tag$)", "word2xx", "_v"]
    assert texts[-4:] == ["$5", "X", "_", "Y"] and len(texts) == 2 * 62 + 1
    [box] = axes.patches
    at = {text.get_text(): text.get_position() for text in axes.texts}
    for text in (texts[4], "word1x"):
        assert box.get_x() < at[text][0] < box.get_x() + box.get_width()
    assert box.get_y() < at[texts[4]][1] < box.get_y() + box.get_height()


def test_texts_do_not_overlap_and_are_inside_of_the_picture():
    wrong = [TAGS[n - 1] if n % 3 else tag for n, tag in enumerate(TAGS)]
    figure = tagged([(WORDS, TAGS, wrong), (["w" * 70, "v" * 50], ["a", "b"], ["b", "b"])])
    figure.draw_without_rendering()
    boxes = [text.get_window_extent() for text in figure.axes[0].texts]
    for number, box in enumerate(boxes):
        assert not any(box.shrunk(0.98, 0.9).overlaps(other) for other in boxes[number + 1 :])
        assert figure.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1
        assert figure.bbox.y0 <= box.y0 and box.y1 <= figure.bbox.y1
