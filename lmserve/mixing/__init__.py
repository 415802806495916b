"""Mixtures: several models over the same words as one model.

Files are named after what is done, in this order:

combining       the formulas: from components' probabilities to the mixture's
weights         the weights under which a development text is most probable
components      what may be mixed with what
foretelling     components' whole distributions in the places of a text
manifest        what a mixture's folder holds
model, reading  a finished mixture, opened and queried
making          the whole way, from model folders to the mixture's folder
"""
