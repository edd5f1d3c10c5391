"""What findings mean and what to do about them: for customers and technicians, in their language, without a network."""
