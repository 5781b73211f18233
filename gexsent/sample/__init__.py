"""The embedded sample: three small data sets in the layouts that users have, generated from a seed.

What is said has a polarity, what is shown has one, and where they contradict each other the words are meant the other
way round. So text alone and vision alone each know part of the label, and by how much fusion must win is known.
"""
