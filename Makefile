# The steps are in .ci/run: each can be run alone, as in 'make vet' or 'make staticcheck'.
steps := tools servers fmt fences tidy vet staticcheck arch fips quickstart fuzz test bench

.PHONY: check requirements $(steps)

check:
	.ci/run

$(steps):
	.ci/run $@

requirements:
	go test -count=1 -run '^TestRequirements$$' . -update-requirements
