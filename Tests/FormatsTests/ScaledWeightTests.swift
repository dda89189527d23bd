import Formats
import Kernels
import Pleat
import TensorModel
import TestSupport
import Testing
import Weights

/// Checkpoints of codes with scales: FP8, NVFP4, MXFP4 and others.
@Suite struct ScaledWeightTests {
  let scratch: Scratch

  init() throws { scratch = try Scratch() }

  /// A weight with random codes, and how it is stored.
  struct Subject: Sendable, CustomStringConvertible {
    var codes: ScalarType
    var scales: ScalarType
    var rows: Int
    var columns: Int
    var tile: (rows: Int, columns: Int)
    var factor = ScaledCodes.Factor.none
    /// The types, and the last words, under which codes and scales are stored.
    var stored: (codes: (ScalarType, String), scales: (ScalarType, String))
    var scaleShape: [Int]
    var description: String { "\(codes.name) \(rows) × \(columns), \(stored.scales.1)" }

    init(
      _ codes: ScalarType, _ scales: ScalarType, _ rows: Int, _ columns: Int,
      tile: (Int, Int), as words: (ScalarType, String), _ scaleWords: (ScalarType, String),
      factor: ScaledCodes.Factor = .none, scaleShape: [Int]? = nil
    ) {
      (self.codes, self.scales, self.rows, self.columns) = (codes, scales, rows, columns)
      (self.tile, self.factor, stored) = (tile, factor, (words, scaleWords))
      let extents = [(rows + tile.0 - 1) / tile.0, (columns + tile.1 - 1) / tile.1]
      self.scaleShape = scaleShape ?? extents
    }

    static let e4m3 = (ScalarType.f8e4m3, "weight")
    static let inverse = (ScalarType.f32, "weight_scale_inv")

    /// One subject for each layout that a tool writes.
    static let all = [
      Subject(.f8e4m3, .f32, 256, 384, tile: (128, 128), as: e4m3, inverse),
      Subject(.f8e4m3, .f32, 200, 320, tile: (128, 128), as: e4m3, inverse),
      Subject(.f8e4m3, .bf16, 130, 129, tile: (128, 128), as: e4m3, (.bf16, "weight_scale_inv")),
      Subject(.f8e4m3, .f32, 70, 96, tile: (70, 96), as: e4m3, inverse, scaleShape: []),
      Subject(
        .f8e4m3, .f32, 70, 96, tile: (70, 96), as: e4m3, (.f32, "weight_scale"), scaleShape: [1]),
      Subject(.f8e4m3, .f32, 70, 96, tile: (1, 96), as: e4m3, (.f32, "weight_scale")),
      Subject(
        .f8e4m3, .f16, 70, 96, tile: (1, 96), as: e4m3, (.f16, "weight_scale"), scaleShape: [70]),
      Subject(
        .f8e5m2, .bf16, 70, 96, tile: (1, 96), as: (.f8e5m2, "weight"), (.bf16, "weight_scale")),
      Subject(.f8e4m3, .f8e8m0, 70, 96, tile: (1, 32), as: e4m3, (.u8, "weight_scale")),
      Subject(.f8e4m3, .f8e8m0, 256, 256, tile: (128, 128), as: e4m3, (.f8e8m0, "scale")),
      Subject(.i8, .bf16, 70, 96, tile: (1, 32), as: (.i8, "weight"), (.bf16, "weight_scale")),
      Subject(.i8, .f32, 70, 96, tile: (1, 96), as: (.i8, "weight"), (.f32, "weight_scale")),
      Subject(.f4, .f8e8m0, 70, 96, tile: (1, 32), as: (.i8, "weight"), (.f8e8m0, "scale")),
      Subject(
        .f4, .f8e8m0, 70, 96, tile: (1, 32), as: (.u8, "weight_packed"), (.u8, "weight_scale")),
      Subject(
        .f6e2m3, .f8e8m0, 70, 96, tile: (1, 32), as: (.u8, "weight_packed"), (.u8, "weight_scale")),
      Subject(
        .f4, .f8e4m3, 70, 96, tile: (1, 16), as: (.u8, "weight_packed"), (.f8e4m3, "weight_scale"),
        factor: .divisor),
      Subject(
        .f4, .f8e4m3, 70, 96, tile: (1, 16), as: (.u8, "weight"), (.f8e4m3, "weight_scale"),
        factor: .multiplier),
      Subject(.f4, .f8e8m0, 70, 96, tile: (1, 32), as: (.u32, "weight"), (.u8, "scales")),
      Subject(.f4, .f8e4m3, 70, 96, tile: (1, 16), as: (.u32, "weight"), (.u8, "scales")),
      Subject(.f8e4m3, .f8e8m0, 70, 96, tile: (1, 32), as: (.u32, "weight"), (.u8, "scales")),
    ]

    /// The config of the tool.
    var config: String {
      switch stored.scales.1 {
      case "scales": #"{"quantization":{"group_size":32,"bits":4,"mode":"mxfp4"}}"#
      case "weight_scale_inv", "scale":
        #"{"quantization_config":{"quant_method":"fp8","weight_block_size":[128,128]}}"#
      default: #"{"quantization_config":{"quant_method":"modelopt"}}"#
      }
    }

    /// The stored tensors and the numbers, by an arithmetic of their own.
    func make(_ path: String, seed: UInt64) throws -> (tensors: [Toy], values: [Float]) {
      var random = Seeded(seed)
      // Bytes below 0x7c are finite in all types.
      func bytes(_ bits: Int) -> [UInt8] {
        random.bytes(bits / 8).map { $0 % 0x7c | $0 & 0x80 }
      }
      let codes = bytes(rows * columns * codes.bitWidth)
      let scaleCount = scaleShape.reduce(1, *)
      // E8M0 has no sign: exponents near 127 give scales of the usual size.
      let scales =
        self.scales == .f8e8m0
        ? random.bytes(scaleCount).map { 120 + $0 % 14 }
        : self.scales == .f8e4m3
          ? bytes(scaleCount * 8).map { $0 & 0x7f }
          : Numbers.bytes(random.weights(scaleCount), self.scales)
      let number: Float = 0.3
      let table = try #require(CodeTable(self.codes)).values
      let scaleValues: [Float] =
        CodeTable(self.scales).map { table in scales.map { table.values[Int($0)] } }
        ?? Numbers.floats(scales, self.scales)
      let tilesInRow = (columns + tile.columns - 1) / tile.columns
      let values = (0..<rows * columns).map { index -> Float in
        let (row, column) = (index / columns, index % columns)
        let first = index * self.codes.bitWidth
        let code = (0..<self.codes.bitWidth).reduce(0) {
          $0 | Int(codes[(first + $1) / 8] >> ((first + $1) % 8) & 1) << $1
        }
        var scale = scaleValues[row / tile.rows * tilesInRow + column / tile.columns]
        if factor == .multiplier { scale *= number }
        if factor == .divisor { scale /= number }
        return table[code] * scale
      }
      let words = columns * self.codes.bitWidth / stored.codes.0.bitWidth
      var tensors = [
        Toy("\(path).\(stored.codes.1)", stored.codes.0, [rows, words], bytes: codes),
        Toy("\(path).\(stored.scales.1)", stored.scales.0, scaleShape, bytes: scales),
      ]
      if factor != .none {
        let name = factor == .multiplier ? "weight_scale_2" : "weight_global_scale"
        tensors.append(Toy("\(path).\(name)", .f32, [], [number]))
      }
      return (tensors, values)
    }
  }

  private func open(_ tensors: [Toy], _ config: String) throws -> Model {
    try Model.open(try scratch.checkpoint(tensors, config: config, as: "model"))
  }

  @Test("every layout is read as its numbers (seed 310)", arguments: Subject.all)
  func layouts(subject: Subject) throws {
    let (tensors, values) = try subject.make("a.q_proj", seed: 310)
    let other = Toy("b.weight", .bf16, [4, 8], seed: 311)
    let model = try open(tensors + [other], subject.config)
    try model.requireNumbers()
    #expect(model.notes.isEmpty)
    let tile = subject.tile
    let expected = ScaledCodes(
      codes: subject.codes, scales: subject.scales,
      tileRows: tile.rows == subject.rows ? nil : tile.rows,
      tileColumns: tile.columns == subject.columns ? nil : tile.columns, factor: subject.factor)
    let found = model.catalog.tensors
    #expect(found.map(\.name).sorted() == ["a.q_proj.weight", "b.weight"])
    let index = try #require(found.firstIndex { $0.name == "a.q_proj.weight" })
    #expect(found[index].shape.dimensions == [subject.rows, subject.columns])
    #expect(found[index].encoding == .scaled(expected))
    #expect(try model.floats(of: index)?.bits == values.bits)
  }

  @Test("runs of rows are the numbers of these rows (seed 312)", arguments: Subject.all)
  func runs(subject: Subject) throws {
    var subject = subject
    // More rows than a run has, in whole tiles and a rest.
    let step = subject.tile.rows == subject.rows ? 1 : subject.tile.rows
    guard step > 1 || subject.scaleShape.count == 2 else { return }
    subject.rows = (1 << 18) / subject.columns / step * step + step / 2 + 1
    subject.scaleShape[0] = (subject.rows + step - 1) / step
    let (tensors, values) = try subject.make("a.q_proj", seed: 312)
    let reader = WeightReader(model: try open(tensors, subject.config))
    let tensor = try #require(reader.tensor(0))
    #expect(tensor.runCount > 1)
    var found: [Float] = []
    for run in 0..<tensor.runCount { found += try reader.values(of: tensor, run: run) }
    #expect(found.bits == values.bits)
  }

  @Test("a stack has the scales of each of its matrices (seed 313)") func stacks() throws {
    let one = Subject(.f8e4m3, .f32, 96, 64, tile: (32, 32), as: Subject.e4m3, Subject.inverse)
    let matrices = try (0..<3).map { try one.make("a", seed: 313 + UInt64($0)) }
    let tensors = [
      Toy("e.gate_up_proj", .f8e4m3, [3, 96, 64], bytes: matrices.flatMap { $0.tensors[0].bytes }),
      Toy(
        "e.gate_up_proj_scale_inv", .f32, [3, 3, 2], bytes: matrices.flatMap { $0.tensors[1].bytes }
      ),
    ]
    let config = #"{"quantization_config":{"quant_method":"fp8","weight_block_size":[32,32]}}"#
    let model = try open(tensors, config)
    #expect(model.catalog.tensors.map(\.name) == ["e.gate_up_proj"])
    #expect(try model.floats(of: 0)?.bits == matrices.flatMap(\.values).bits)
  }

  @Test("scales of activations and caches are left out, with a note (seed 314)") func activations()
    throws
  {
    let subject = Subject.all[4]
    let others = ["a.input_scale", "a.k_scale", "b.input_scale"].map { Toy($0, .f32, [], [0.5]) }
    let model = try open(try subject.make("a", seed: 314).tensors + others, subject.config)
    #expect(model.catalog.tensors.map(\.name) == ["a.weight"])
    #expect(model.notes.count == 1)
    #expect(model.notes.first?.hasPrefix("3 scales of activations and caches") == true)
  }

  /// A weight that is stored in a wrong way, and what the error says.
  struct Fault: Sendable {
    var subject: Int
    var change: @Sendable (inout [Toy]) -> Void
    var words: String
  }

  static let wrongTensors = [
    Fault(
      subject: 0, change: { $0[1].shape = [1, 6] }, words: "128 × 128"),
    Fault(
      subject: 3, change: { $0[1] = Toy("a.weight_scale_inv", .f32, [2, 7], seed: 1) },
      words: "2×7"),
    Fault(
      subject: 11, change: { $0.append(Toy("a.weight_zero_point", .f32, [70, 1], seed: 1)) },
      words: "zero points"),
    Fault(
      subject: 11, change: { $0.append(Toy("a.pre_quant_scale", .f32, [96], seed: 1)) },
      words: "scales of its inputs"),
    Fault(
      subject: 15, change: { $0[2] = Toy("a.weight_global_scale", .f32, [2], seed: 1) },
      words: "one number"),
    Fault(
      subject: 15, change: { $0[2] = Toy("a.weight_global_scale", .bf16, [1], seed: 1) },
      words: "BF16"),
  ]

  @Test(
    "what is more than codes and scales is unsupported (seed 315)", arguments: wrongTensors.indices)
  func faults(index: Int) throws {
    let fault = Self.wrongTensors[index]
    let subject = Subject.all[fault.subject]
    var tensors = try subject.make("a", seed: 315).tensors
    fault.change(&tensors)
    let model = try open(tensors, subject.config)
    let error = try #require(Laws.error { () throws(ModelError) in try model.requireNumbers() })
    #expect(error.kind == .unsupported)
    #expect(error.tensor?.hasPrefix("a.") == true)
    #expect(error.description.contains(fault.words), "\(error)")
  }

  @Test("without the config of a tool, codes are no weights (seed 316)", arguments: Subject.all)
  func configs(subject: Subject) throws {
    let tensors = try subject.make("a", seed: 316).tensors
    for config in ["{}", #"{"quantization_config":{"quant_method":"fp9"}}"#] {
      let model = try open(tensors, config)
      let error = Laws.error { () throws(ModelError) in try model.requireNumbers() }
      #expect(error?.kind == .unsupported, "\(subject)")
    }
  }
}
