from setuptools import setup

setup(name="styles", version="1.0", packages=["lengths", "averages", "warehouse", "sessions"])
