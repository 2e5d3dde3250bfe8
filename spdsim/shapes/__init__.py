"""What a target model is made of: its layers in bytes and operations, and the reading of a published config.json.

Plain numbers in, plain numbers out. Standard library only.
"""
