"""Pure: what a system writes, to frozen Structs. Whatever the text is, a parser takes what it recognises, skips the
rest, keeps no more of a value than its bound, and raises nothing. Values are as the system wrote them, never guessed.
"""
