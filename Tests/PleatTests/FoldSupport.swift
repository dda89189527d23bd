import Adapters
import Formats
import Kernels
import Pleat
import TestSupport

/// Folds in a scratch folder.
struct Folder {
  let scratch: Scratch

  init() throws { scratch = try Scratch() }

  /// What a fold gave.
  struct Result {
    var model: Model
    var plan: Plan
    var report: FoldReport
  }

  /// An adapter of factors, opened.
  func use(
    _ factors: [ToyFactors], _ more: [Toy] = [], _ config: String = "", as name: String = "adapter",
    scale: Double = 1, pooling: Pooling? = nil
  ) throws -> AdapterUse {
    let path = try scratch.peft(factors.flatMap(\.tensors) + more, config, as: name)
    return AdapterUse(try AdapterFile.open(path), scale: scale, pooling: pooling)
  }

  /// Folds, and opens what was written.
  func fold(
    _ uses: [AdapterUse], into base: Model, to name: String, _ options: FoldOptions = FoldOptions(),
    workerCount: Int = 2, compresses: Bool = false
  ) throws(ModelError) -> Result {
    let destination = Destination(
      path: scratch.path(name), format: try Formats.named(Files.suffix(of: name)),
      compresses: compresses)
    let plan = try Plan.folding(uses, into: base, to: destination, options: options)
    guard let report = try Run(plan, workerCount: workerCount)().fold else {
      throw ModelError(.usage, "a fold without a report")
    }
    return Result(model: try Model.open(destination.path), plan: plan, report: report)
  }

  /// The error of a fold; nothing may be left behind by it.
  func error(
    _ uses: [AdapterUse], into base: Model, to name: String, _ options: FoldOptions = FoldOptions()
  ) throws -> (error: ModelError?, isClean: Bool) {
    let before = try scratch.names()
    let error = Laws.error { () throws(ModelError) in
      try fold(uses, into: base, to: name, options)
    }
    return (error, try scratch.names() == before)
  }

  /// Rounds a model's weights.
  func quantize(
    _ model: Model, _ recipe: Recipe, to name: String, adding uses: [AdapterUse] = [],
    compresses: Bool = false
  ) throws(ModelError) -> Model {
    let destination = Destination(
      path: scratch.path(name), format: try Formats.named(Files.suffix(of: name)),
      compresses: compresses)
    try Run(try Plan.quantizing(model, recipe, to: destination, adding: uses))()
    return try Model.open(destination.path)
  }
}

extension FoldOptions {
  /// Options with some of them set.
  static func with(
    requantizes: Bool = false, rounds: Bool = false, widenedBits: Int? = nil,
    biasType: ScalarType? = nil
  ) -> FoldOptions {
    var options = FoldOptions()
    options.requantizes = requantizes
    options.rounds = rounds
    options.widenedBits = widenedBits
    options.biasType = biasType
    return options
  }
}

extension Model {
  /// The stored bytes of a tensor, part by part.
  func parts(_ name: String) throws(ModelError) -> [PartRole: [UInt8]] {
    var parts: [PartRole: [UInt8]] = [:]
    guard let index = index(of: name) else { return parts }
    // What a part is for the spelling knows; a file may know its numbers only.
    let roles = format.spelling.parts(of: catalog.tensors[index]).map(\.role)
    for (part, role) in zip(gathered[index].parts, roles) {
      let stored = reader.stored[part]
      var bytes = [UInt8](repeating: 0, count: stored.byteCount)
      var span = bytes.mutableSpan
      var raw = span.mutableBytes
      try reader.read(part, at: 0, into: &raw)
      parts[role] = bytes
    }
    return parts
  }

  /// The stored bytes of all tensors.
  func allParts() throws(ModelError) -> [String: [PartRole: [UInt8]]] {
    var all: [String: [PartRole: [UInt8]]] = [:]
    for tensor in catalog.tensors { all[tensor.name] = try parts(tensor.name) }
    return all
  }
}

/// The numbers of a grouped weight, from the bytes of its parts.
struct StoredGroups {
  var grouping: Grouping
  var columnCount: Int
  var codes: [UInt8]
  var scales: [Double]
  /// What is added to scale · code.
  var offsets: [Double]
  /// The stored zero points; empty without.
  var zeros: [Double] = []

  /// The groups of a tensor in a pleat file or in blocks of gguf.
  init?(_ model: Model, _ name: String) throws(ModelError) {
    guard let index = model.index(of: name) else { return nil }
    let info = model.catalog.tensors[index]
    guard case .grouped(let grouping) = info.encoding else { return nil }
    self.grouping = grouping
    columnCount = info.shape.columnCount
    let parts = try model.parts(name)
    if let blocks = parts[.blocks] {
      (codes, scales, offsets) = Self.blocks(blocks, grouping)
      return
    }
    codes = Self.unpack(parts[.codes] ?? [], grouping.bits, rows: info.shape.rowCount, columnCount)
    func numbers(_ role: PartRole) -> [Double] {
      Numbers.floats(parts[role] ?? [], grouping.parameters).map(Double.init)
    }
    scales = numbers(.scales)
    switch grouping.offset {
    case .bias: offsets = numbers(.biases)
    case .none: offsets = scales.map { -$0 * Double(1 << (grouping.bits - 1)) }
    case .zeroPoint:
      zeros = (parts[.zeros] ?? []).map(Double.init)
      offsets = zip(scales, zeros).map { -$0 * $1 }
    }
  }

  /// The weight at a place of the whole tensor, without rounding.
  func weight(_ place: Int) -> Double {
    let group = place / grouping.groupSize
    return scales[group] * Double(codes[place]) + offsets[group]
  }

  // Codes are a stream of bits, the lowest first, and rows are whole words of four bytes.
  private static func unpack(_ bytes: [UInt8], _ bits: Int, rows: Int, _ columns: Int) -> [UInt8] {
    let rowByteCount = (columns * bits + 31) / 32 * 4
    return (0..<rows * columns).map { place in
      let first = place % columns * bits
      return (0..<bits).reduce(UInt8(0)) { code, bit in
        let byte = bytes[place / columns * rowByteCount + (first + bit) / 8]
        return code | (byte >> UInt8((first + bit) % 8) & 1) << UInt8(bit)
      }
    }
  }

  // Blocks of 32: scale, bias where there is one, high bits of 5-bit codes, low nibbles.
  private static func blocks(
    _ bytes: [UInt8], _ grouping: Grouping
  ) -> ([UInt8], [Double], [Double]) {
    let parameterCount = grouping.offset == .bias ? 4 : 2
    let highCount = grouping.bits == 5 ? 4 : 0
    let length = parameterCount + highCount + 16
    var (codes, scales, offsets): ([UInt8], [Double], [Double]) = ([], [], [])
    for start in stride(from: 0, to: bytes.count, by: length) {
      let parameters = Numbers.floats(f16: Array(bytes[start..<start + parameterCount]))
      scales.append(Double(parameters[0]))
      offsets.append(
        grouping.offset == .bias
          ? Double(parameters[1]) : -Double(parameters[0]) * Double(1 << (grouping.bits - 1)))
      let (high, low) = (start + parameterCount, start + parameterCount + highCount)
      for i in 0..<32 {
        let nibble = bytes[low + i % 16] >> (i < 16 ? 0 : 4) & 15
        let top = highCount == 0 ? 0 : bytes[high + i / 8] >> UInt8(i % 8) & 1
        codes.append(nibble | top << 4)
      }
    }
    return (codes, scales, offsets)
  }
}
