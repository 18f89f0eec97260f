module tickbridge

go 1.19
