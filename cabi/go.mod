module github.com/llm-endpoint-picker/epp/cabi

go 1.24
