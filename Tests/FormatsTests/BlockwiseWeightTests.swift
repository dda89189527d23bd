import Formats
import Pleat
import TensorModel
import TestSupport
import Testing
import Weights

/// Checkpoints of bitsandbytes: blocks of codes that do not depend on rows.
@Suite struct BlockwiseWeightTests {
  let scratch: Scratch

  init() throws { scratch = try Scratch() }

  private static let config = #"{"quantization_config":{"quant_method":"bitsandbytes"}}"#

  /// A weight in NF4, with its scales quantized or not.
  private struct Subject {
    let rows = 600
    let columns = 96
    let blockSize = 32
    let offset: Float = 0.0625
    var isNested: Bool
    let codes: [UInt8]
    let table: [Float]
    let scales: [UInt8]  // F32, or codes
    let outerScales: [Float]
    let scaleTable: [Float]

    init(isNested: Bool, seed: UInt64) {
      var random = Seeded(seed)
      self.isNested = isNested
      let count = rows * columns
      codes = random.bytes(count / 2)
      table = random.weights(16)
      let scaleCount = count / blockSize
      scales =
        isNested ? random.bytes(scaleCount) : Numbers.bytes(random.weights(scaleCount), .f32)
      outerScales = random.weights((scaleCount + 255) / 256)
      scaleTable = random.weights(256)
    }

    var tensors: [Toy] {
      let nesting = isNested ? #","nested_blocksize":256,"nested_offset":\#(offset)"# : ""
      let text =
        #"{"quant_type":"nf4","blocksize":32,"dtype":"bfloat16","shape":[600,96]\#(nesting)}"#
      let name = "a.weight"
      let state = Array(text.utf8)
      var tensors = [
        Toy(name, .u8, [codes.count, 1], bytes: codes),
        Toy("\(name).quant_map", .f32, [16], table),
        Toy("\(name).absmax", isNested ? .u8 : .f32, [rows * columns / blockSize], bytes: scales),
        Toy("\(name).quant_state.bitsandbytes__nf4", .u8, [state.count], bytes: state),
      ]
      if isNested {
        tensors.append(Toy("\(name).nested_absmax", .f32, [outerScales.count], outerScales))
        tensors.append(Toy("\(name).nested_quant_map", .f32, [256], scaleTable))
      }
      return tensors
    }

    var values: [Float] {
      let plain = isNested ? [] : Numbers.floats(scales, .f32)
      return (0..<rows * columns).map { index in
        let code = index % 2 == 0 ? codes[index / 2] >> 4 : codes[index / 2] & 0xf
        let block = index / blockSize
        let scale =
          isNested
          ? scaleTable[Int(scales[block])] * outerScales[block / 256] + offset : plain[block]
        return table[Int(code)] * scale
      }
    }
  }

  @Test("weights of 4 bits are read as their numbers (seed 330)", arguments: [false, true])
  func fourBits(isNested: Bool) throws {
    let subject = Subject(isNested: isNested, seed: 330)
    let model = try Model.open(
      try scratch.checkpoint(subject.tensors, config: Self.config, as: "model"))
    try model.requireNumbers()
    #expect(model.catalog.tensors.map(\.name) == ["a.weight"])
    #expect(model.catalog.tensors[0].shape.dimensions == [600, 96])
    #expect(model.catalog.tensors[0].encoding.description.hasPrefix("NF4, "))
    let reader = WeightReader(model: model)
    let tensor = try #require(reader.tensor(0))
    #expect(try reader.values(of: tensor, rows: 0..<600).bits == subject.values.bits)
    for runs in WeightReader.runs(of: [tensor], in: 0..<600) {
      let found = try reader.values(of: tensor, rows: runs)
      #expect(found.bits == Array(subject.values[runs.lowerBound * 96..<runs.upperBound * 96]).bits)
    }
  }

  @Test("weights of 8 bits have a scale for each row (seed 331)") func eightBits() throws {
    var random = Seeded(331)
    let (codes, scales) = (random.bytes(40 * 24), random.weights(40))
    let tensors = [
      Toy("a.weight", .i8, [40, 24], bytes: codes), Toy("a.SCB", .f32, [40], scales),
      Toy("a.weight_format", .u8, [], bytes: [0]),
    ]
    let model = try Model.open(try scratch.checkpoint(tensors, config: Self.config, as: "model"))
    try model.requireNumbers()
    #expect(model.catalog.tensors.map(\.name) == ["a.weight"])
    let expected = codes.indices.map { index in
      Float(Int8(bitPattern: codes[index])) * scales[index / 24] * Float(0.007874015718698502)
    }
    #expect(try model.floats(of: 0)?.bits == expected.bits)
  }

  @Test("blocks that cross rows are unsupported (seed 332)") func crossing() throws {
    var tensors = Subject(isNested: false, seed: 332).tensors
    let text = #"{"blocksize":32,"dtype":"bfloat16","shape":[1200,48]}"#
    tensors[3] = Toy(
      "a.weight.quant_state.bitsandbytes__nf4", .u8, [text.utf8.count], bytes: Array(text.utf8))
    let model = try Model.open(try scratch.checkpoint(tensors, config: Self.config, as: "model"))
    let error = try #require(Laws.error { () throws(ModelError) in try model.requireNumbers() })
    #expect(error.kind == .unsupported)
    #expect(error.description.contains("cross its rows"), "\(error)")
  }
}
