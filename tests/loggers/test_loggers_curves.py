from cbam_ablate.loggers import curves


def history(epochs, scale):
    values = [(epoch, scale / epoch) for epoch in range(1, epochs + 1)]
    names = ("train_loss", "val_loss", "train_top1", "val_top1")
    return [{"epoch": epoch, **{name: value * len(name) for name in names}} for epoch, value in values]


def test_a_picture_does_not_depend_on_those_drawn_before(tmp_path):
    runs = [(history(8, 1), "first"), (history(30, 9), "second"), (history(1, 3), "third")]
    drawn, alone = [], []
    for found, anew in ((drawn, False), (alone, True)):
        for run, title in runs:
            if anew:
                curves._frame.cache_clear()
            curves.draw_curves(run, tmp_path / "curves.png", title)
            found.append((tmp_path / "curves.png").read_bytes())
    assert drawn == alone
    assert len(set(drawn)) == len(runs)
