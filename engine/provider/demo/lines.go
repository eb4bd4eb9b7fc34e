package demo

// lines are said one after the other, and then again from the start.
var lines = []struct{ channel, author, text string }{
	{"general", "Ada", "Good morning! The deploy went out without a hitch."},
	{"general", "Grace", "Nice. I had one finger on the rollback button all night."},
	{"support", "Linus", "A customer asks whether invoices can be sent in Danish."},
	{"support", "Ada", "They can since Tuesday, it is under Settings, Language."},
	{"support", "Linus", "That was quick. They send their thanks, and a cake emoji."},
	{"random", "Katherine", "Who took the good chair again?"},
	{"random", "Dennis", "Define good."},
	{"engineering", "Barbara", "The flaky test is not flaky. It fails on Mondays."},
	{"engineering", "Ken", "It compares a date with next week's. I will fix it."},
	{"engineering", "Barbara", "Fixed and green, three runs in a row."},
	{"general", "Radia", "Lunch at half past twelve? There is a new place on the corner."},
	{"general", "Grace", "Count me in."},
	{"general", "Dennis", "Me too, if they have soup."},
	{"sales", "Mary", "Signed! Twelve seats, starting next month."},
	{"sales", "Ada", "Congratulations. I will set up their workspace."},
	{"engineering", "Ken", "Heads-up: the database gets an index at 15:00, no downtime."},
	{"support", "Katherine", "Two people report slow exports. Both have more than 100k rows."},
	{"engineering", "Barbara", "Found it, we sorted twice. A patch is on its way."},
	{"random", "Radia", "The plant in the hallway has a new leaf. That is all."},
	{"general", "Mary", "Have a nice evening, everyone!"},
}
