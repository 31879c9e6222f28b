import numpy as np

from rqrec.training.report.plots import draw_lines, plot, use_log_scale


def drawn(name: str) -> str:
    with plot("Loss & <b>", "steps", "loss") as shown:
        draw_lines(
            shown.axes, [(name, np.arange(1, 5), np.array([1.0, 10.0, 100.0, 1000.0])), ("b", np.ones(2), np.ones(2))]
        )
        use_log_scale(shown.axes, y=True)
    return shown.svg


def test_a_plot_takes_colours_and_font_from_the_page_and_shows_text_as_it_is() -> None:
    svg = drawn("$cost$ 电影")
    assert "$cost$ 电影" in svg
    assert ">1,000<" in svg
    assert "font-family" not in svg
    assert "var(--series-0)" in svg
    assert "#0" not in svg.replace('"#', "").replace("url(#", "")  # no place holder is left
    assert 'aria-label="Loss &amp; &lt;b&gt;"' in svg


def test_equal_plots_are_equal_texts() -> None:
    assert drawn("a") == drawn("a")
