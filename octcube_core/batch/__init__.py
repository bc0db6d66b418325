"""Many exams through one model: a table with one row per exam. Interrupted and resumed, it loses nothing.

The table names the path of every exam, without which it would be of no use; people name files after patients, so who
passes it on should look at that column. Of the patient it holds nothing unless that is asked for.
"""
