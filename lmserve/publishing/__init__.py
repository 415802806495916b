"""Model directories: several models by name, each in versions, one of which is current.

    MODELS/
        NAME/
            current.json            which version is current, and which were before: `records`
            VERSION/                a model folder, never changed
                published.json      its files, by size and checksum

MODELS is a folder, or a URL of an object store. Needs neither Ray nor a web framework.
"""
