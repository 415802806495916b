"""Recurrent language models: cells, training with watched gradients, scoring.

The modules, from the equation to the finished model:

    cells, elman, gated, mogrifier, linear  one layer: steps for streaming, sequences for training
    dropouts, outputs, network              layers -> a network that predicts the next word
    corpus, batches                         text -> words' rows -> batches that go on in time
    clipping, optimizing, stepping          one update of the weights, and what its gradient was
    checkpoints, training, runs             many of them, stopped and resumed at any point
    probing, experiment                     how far back gradients reach, and what clipping is for
    report, page, pictures                  pages and pictures of it
    reading, scoring                        the finished network as a `Scorer`

Of these, `config` and `settings` import without torch; `import lmserve` needs none of them.
"""
