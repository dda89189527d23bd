import Formats
import Testing

/// What the name of an output tells about its format.
@Suite struct SuffixTests {
  @Test(
    "a suffix stands for the first format that has it",
    arguments: [
      ("a.gguf", "gguf"), ("b/c.pleat", "pleat"), ("d.e.safetensors", "safetensors"), ("gguf", nil),
      ("a.gguf/", "gguf"), ("a.bin", nil), ("", nil), (".pleat", nil), ("x.GGUF", "gguf"),
    ] as [(String, String?)])
  func suggestion(path: String, name: String?) {
    #expect(Formats.suggested(byPath: path)?.name == name)
  }

  @Test("a path suits a format unless its suffix is that of another") func suitability() {
    for format in Formats.all {
      for path in ["folder", "a.bin", "v1.5"] { #expect(format.suits(path: path)) }
      for suffix in Formats.suffixes {
        #expect(
          format.suits(path: "a" + suffix)
            == format.container.suffixes.contains(String(suffix.dropFirst())))
      }
    }
    #expect(Formats.suffixes == [".safetensors", ".gguf", ".pleat"])
  }
}
