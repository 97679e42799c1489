module github.com/unprune/unprune

go 1.26
