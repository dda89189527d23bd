import Network
import TestSupport
import Testing

/// The list of model types in `formats/running.md`.
@Suite struct DocumentTests {
  @Test("the document lists the model types that run") func modelTypes() throws {
    let text = String(decoding: try Fixtures.bytes("../formats/running.md"), as: UTF8.self)
    let parts = text.split(separator: "<!-- model types -->")
    #expect(parts.count == 3)
    let listed = parts[1].split { " ,\n`".contains($0) }.map(String.init)
    #expect(listed == Decoder.modelTypes)
    #expect(listed.count == 82)
  }
}
