module krundl

go 1.19
