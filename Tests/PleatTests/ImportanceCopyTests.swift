import Bytes
import Formats
import Pleat
import TensorModel
import TestSupport
import Testing
import Weights

/// Importance matrices as inputs of commands, and the files that are written for them.
@Suite struct ImportanceCopyTests {
  let scratch: Scratch

  init() throws { scratch = try Scratch() }

  private let entries = [ToyImportance("blk.0.attn_q.weight", [4, 9], [8])]

  @Test("a path is an importance matrix or a model by its content") func inputs() throws {
    let bytes = [ToyImportance.gguf(entries), ToyImportance.data(entries)]
    for (form, bytes) in zip([ImportanceMatrix.Form.gguf, .dat], bytes) {
      let input = try Input.open(try scratch.write(bytes, as: "model.safetensors"))
      #expect(input.importance?.form == form)
    }
    #expect(try Input.open(Fixtures.path("tinylm")).importance == nil)
    #expect(try Input.open(Fixtures.path("golden/gguf/types.gguf")).importance == nil)
    let error = Laws.error { () throws(ModelError) in try Input.open(scratch.path("absent")) }
    #expect(error?.kind == .io)
  }

  @Test("a file is written in the form that its suffix or the caller names") func forms() throws {
    let matrix = try ImportanceMatrix.read(
      try scratch.write(ToyImportance.gguf(entries), as: "a.gguf"))
    let data = [ToyImportance("blk.0.attn_q.weight", [1, 2.25], [2])]
    let cases: [(String, ImportanceMatrix.Form?, [UInt8])] = [
      ("b.dat", nil, ToyImportance.data(data)), ("c.gguf", nil, ToyImportance.gguf(entries)),
      ("d.GGUF", .dat, ToyImportance.data(data)), ("e", .gguf, ToyImportance.gguf(entries)),
    ]
    for (name, form, bytes) in cases {
      let copy = try ImportanceCopy(of: [matrix], to: scratch.path(name), as: form)
      #expect(copy.byteCount == bytes.count && copy.notes == [])
      try copy.write(replacing: false, verifying: true)
      #expect(try scratch.bytes(of: name) == bytes)
      #expect(throws: ModelError.self) { try copy.write(replacing: false) }
      try copy.write(replacing: true)
    }
    #expect(try scratch.names() == ["a.gguf", "b.dat", "c.gguf", "d.GGUF", "e"])
    for path in [scratch.path("f"), scratch.path("f.safetensors"), scratch.path("a.gguf")] {
      let error = Laws.error { () throws(ModelError) in
        try ImportanceCopy(of: [matrix], to: path)
      }
      #expect(error?.kind == .usage && error?.file == path)
    }
    let name = Laws.error { () throws(ModelError) in try ImportanceCopy.form(named: "mlx") }
    #expect(name?.kind == .usage && name?.expected == "gguf or dat")
  }

  @Test("a sum of matrices is written, and notes say what was assumed") func sums() throws {
    let gguf = try ImportanceMatrix.read(
      try scratch.write(ToyImportance.gguf(entries), as: "a.gguf"))
    let data = try ImportanceMatrix.read(
      try scratch.write(ToyImportance.data(entries), as: "b.dat"))
    let copy = try ImportanceCopy(of: [gguf, data], to: scratch.path("sum.gguf"))
    #expect(copy.sources == [gguf.path, data.path])
    #expect(
      copy.notes
        == ["a .dat file does not state the size of its chunks: 4 tokens are assumed"])
    try copy.write(replacing: false)
    let sum = try ImportanceMatrix.read(scratch.path("sum.gguf"))
    #expect(try sum.entries.map { try $0.sums(in: 0..<2) } == [[20, 45]])
    #expect(sum.entries.map(\.counts) == [[40]])
    #expect(copy.planJSON["schema"] == "pleat.plan.1" && copy.planJSON["path"] == nil)
    #expect(copy.resultJSON["path"] == .string(scratch.path("sum.gguf")))
    let old = try ImportanceCopy(of: [gguf, data], to: scratch.path("sum.dat"))
    #expect(old.notes.count == 2 && old.notes[1].contains("one dataset"))
  }

  @Test("bad numbers are shown by an inspection, and stop a copy") func faults() throws {
    let bad = ToyImportance("blk.0.attn_k.weight", [1, .nan], [2])
    let path = try scratch.write(ToyImportance.data(entries + [bad]), as: "m.dat")
    let matrix = try #require(try Input.open(path).importance)
    let inspection = try ImportanceInspection(matrix)
    #expect(!inspection.isValid)
    let json = inspection.json(
      entries: [1], statistics: [1: try inspection.statistics(of: 1)])
    #expect(json["valid"] == .bool(false) && json["faults"]?.array?.count == 1)
    #expect(json["entries"]?.array?.first?["name"] == "blk.0.attn_q.weight")
    #expect(json["entries"]?.array?.first?["statistics"]?["mean"] == .number(0.8125))
    let error = Laws.error { () throws(ModelError) in
      try ImportanceCopy(of: [matrix], to: scratch.path("out.gguf"))
    }
    #expect(error?.kind == .malformed && error?.tensor == bad.name)
  }
}
