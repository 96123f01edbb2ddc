package epp_test

import (
	"bytes"
	"go/ast"
	"go/format"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestEverythingIsFormatted(t *testing.T) {
	files, _ := filepath.Glob(filepath.Join("..", "*", "*.go"))
	for _, path := range files {
		source := must(os.ReadFile(path))(t)
		if !bytes.Equal(must(format.Source(source))(t), source) {
			t.Errorf("%s is not as gofmt writes it", path)
		}
	}
}

// Whatever `go doc` lists says what it means.
func TestEverythingExportedIsDocumented(t *testing.T) {
	files, _ := filepath.Glob("*.go")
	seen := 0
	for _, path := range files {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		file := must(parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments))(t)
		for _, declaration := range file.Decls {
			for name, documented := range exported(declaration) {
				seen++
				if !documented {
					t.Errorf("%s: %s has no comment", path, name)
				}
			}
		}
	}
	if seen < 50 {
		t.Fatalf("only %d exported names were found", seen)
	}
}

// exported are a declaration's exported names, and whether each has a comment of its own or beside it. Methods
// that an interface of the standard library explains need none.
func exported(declaration ast.Decl) map[string]bool {
	names := map[string]bool{}
	switch d := declaration.(type) {
	case *ast.FuncDecl:
		if d.Name.IsExported() && d.Name.Name != "String" && d.Name.Name != "Error" {
			names[d.Name.Name] = d.Doc != nil
		}
	case *ast.GenDecl:
		for _, spec := range d.Specs {
			switch s := spec.(type) {
			case *ast.TypeSpec:
				if s.Name.IsExported() {
					names[s.Name.Name] = s.Doc != nil || d.Doc != nil
				}
			case *ast.ValueSpec:
				for _, name := range s.Names {
					if name.IsExported() {
						names[name.Name] = s.Doc != nil || s.Comment != nil || d.Doc != nil
					}
				}
			}
		}
	}
	return names
}
