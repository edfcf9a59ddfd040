"""Mails, pictures and reports: jobs.py has the queue and its tasks, smtp.py the mail client, main.py the program."""
