"""n-gram models: counting, adjusting, smoothing, tables, queries.

The modules are the steps of the pipeline, in this order:

    counting    text -> words with counts, token ids -> n-gram records, one part a shard
    vocabulary  words of all pieces -> one vocabulary, in the order of their hashes
    adjusting   a shard's records -> its context trie, n-grams, adjusted counts
    discounting counts of counts -> discounts
    smoothing   adjusted counts and discounts -> probabilities and backoff weights
    assembling  shards -> one model folder
    model       the folder, mapped and queried

The model folder (docs/model-format.md), from what is written to what is asked:

    layout, packing       widths of fields; plain columns -> bits, and back
    writing, manifest     tables and what describes them
    packed, unpacking     rows read one by one by kernels; whole levels read as columns
    query, stepping       scores of many sentences; of one word after a state
    foretelling, sampling the whole distribution of the next word; sentences drawn from it
    arpa, importing       to ARPA text, and from anyone's
    quantizing            a smaller copy with codes for probabilities

A shard holds every n-gram whose context ends in one of its words. All that Kneser-Ney smoothing
sums over is then inside one shard, but for two small things: the counts of counts and the unigrams.
"""
