"""n-gram models: counting, adjusting, smoothing, tables, queries.

The modules are the steps of the pipeline, in this order:

    counting    text -> words with counts, token ids -> n-gram records, one part a shard
    vocabulary  words of all pieces -> one vocabulary, the most frequent word first
    adjusting   a shard's records -> its context trie, n-grams, adjusted counts
    discounting counts of counts -> discounts
    smoothing   adjusted counts and discounts -> probabilities and backoff weights
    assembling  shards -> one model folder
    model       the folder, mapped and queried

A shard holds every n-gram whose context ends in one of its words. All that Kneser-Ney smoothing
sums over is then inside one shard, but for two small things: the counts of counts and the unigrams.
"""
