import Adapters
import Formats
import Kernels
import Pleat
import TestSupport

/// A scratch folder with helpers to fold and quantize.
struct Folder {
  let scratch: Scratch

  init() throws { scratch = try Scratch() }

  /// The output of a fold.
  struct Result {
    var model: Model
    var plan: Plan
    var report: FoldReport
  }

  /// Writes factors as a PEFT adapter, opens it, and sets its scale and pooling.
  func applied(
    _ factors: [ToyFactors], _ more: [Toy] = [], _ config: String = "", as name: String = "adapter",
    scale: Double = 1, pooling: Pooling? = nil
  ) throws -> AppliedAdapter {
    let path = try scratch.peft(factors.flatMap(\.tensors) + more, config, as: name)
    return AppliedAdapter(try AdapterFile.open(path), scale: scale, pooling: pooling)
  }

  /// An output in the format that its suffix names.
  func destination(_ name: String) throws(ModelError) -> Destination {
    Destination(path: scratch.path(name), format: try Formats.named(Files.suffix(of: name)))
  }

  /// Folds adapters into a model and opens the output.
  func fold(
    _ adapters: [AppliedAdapter], into base: Model, to name: String,
    _ options: FoldOptions = FoldOptions(),
    workerCount: Int = 2, compresses: Bool = false
  ) throws(ModelError) -> Result {
    let destination = Destination(
      path: scratch.path(name), format: try Formats.named(Files.suffix(of: name)),
      compresses: compresses)
    let plan = try Plan.folding(adapters, into: base, to: destination, options: options)
    try plan.checkPermits(try plan.measuredLoss(workerCount: workerCount))
    guard let report = try Run(plan, workerCount: workerCount)().fold else {
      throw ModelError(.usage, "the fold has no report")
    }
    return Result(model: try Model.open(destination.path), plan: plan, report: report)
  }

  /// The error of a fold, and whether it left no files.
  func error(
    _ adapters: [AppliedAdapter], into base: Model, to name: String,
    _ options: FoldOptions = FoldOptions()
  ) throws -> (error: ModelError?, isClean: Bool) {
    let before = try scratch.names()
    let error = Laws.error { () throws(ModelError) in
      try fold(adapters, into: base, to: name, options)
    }
    return (error, try scratch.names() == before)
  }

  /// Quantizes a model and opens the output.
  func quantize(
    _ model: Model, _ recipe: Recipe, to name: String, adding adapters: [AppliedAdapter] = [],
    compresses: Bool = false
  ) throws(ModelError) -> Model {
    let destination = Destination(
      path: scratch.path(name), format: try Formats.named(Files.suffix(of: name)),
      compresses: compresses)
    try Run(try Plan.quantizing(model, recipe, to: destination, adding: adapters))()
    return try Model.open(destination.path)
  }
}

extension FoldOptions {
  /// Fold options with some values set.
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
  /// The bytes of each part of a tensor.
  ///
  /// Throws `usage` if there is no such tensor.
  func parts(_ name: String) throws(ModelError) -> [PartRole: [UInt8]] {
    guard let index = index(of: name) else {
      throw ModelError(.usage, "no such tensor", file: path, tensor: name)
    }
    var parts: [PartRole: [UInt8]] = [:]
    // The codec knows the roles of the parts. Some containers know them as plain values only.
    let roles = format.codec.parts(of: catalog.tensors[index]).map(\.role)
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

  /// The bytes of one part of a tensor.
  ///
  /// Throws `usage` if there is no such tensor, or if it has no such part.
  func part(_ role: PartRole, of name: String) throws(ModelError) -> [UInt8] {
    guard let bytes = try parts(name)[role] else {
      throw ModelError(.usage, "no such part", file: path, tensor: name, expected: role.rawValue)
    }
    return bytes
  }

  /// The bytes of the parts of all tensors.
  func allParts() throws(ModelError) -> [String: [PartRole: [UInt8]]] {
    var all: [String: [PartRole: [UInt8]]] = [:]
    for tensor in catalog.tensors { all[tensor.name] = try parts(tensor.name) }
    return all
  }
}

/// The values of a grouped weight, decoded from the bytes of its parts.
struct StoredGroups {
  var grouping: Grouping
  var columnCount: Int
  var codes: [UInt8]
  var scales: [Double]
  /// The offset of each group: a weight is scale · code + offset.
  var offsets: [Double]
  /// The stored zero points; empty if there are none.
  var zeros: [Double] = []

  /// The groups of a tensor in a pleat or MLX file, or in GGML blocks; nil if it has none.
  init?(_ model: Model, _ name: String) throws(ModelError) {
    guard let index = model.index(of: name) else { return nil }
    let info = model.catalog.tensors[index]
    guard case .grouped(let grouping) = info.encoding else { return nil }
    self.grouping = grouping
    columnCount = info.shape.columnCount
    if let blocks = try model.parts(name)[.blocks] {
      (codes, scales, offsets) = Self.blocks(blocks, grouping)
      return
    }
    codes = Self.unpack(
      try model.part(.codes, of: name), grouping.bits, rows: info.shape.rowCount, columnCount)
    func numbers(_ role: PartRole) throws(ModelError) -> [Double] {
      Numbers.floats(try model.part(role, of: name), grouping.parameters).map(Double.init)
    }
    scales = try numbers(.scales)
    switch grouping.offset {
    case .bias: offsets = try numbers(.biases)
    case .none: offsets = scales.map { -$0 * Double(1 << (grouping.bits - 1)) }
    case .zeroPoint:
      zeros = try model.part(.zeros, of: name).map(Double.init)
      offsets = zip(scales, zeros).map { -$0 * $1 }
    }
  }

  /// The weight at an index of the whole tensor, without rounding.
  func weight(_ index: Int) -> Double {
    let group = index / grouping.groupSize
    return scales[group] * Double(codes[index]) + offsets[group]
  }

  // Codes are a bit stream, lowest bit first. Rows are whole words of four bytes.
  private static func unpack(_ bytes: [UInt8], _ bits: Int, rows: Int, _ columns: Int) -> [UInt8] {
    let rowByteCount = (columns * bits + 31) / 32 * 4
    return (0..<rows * columns).map { index in
      let first = index % columns * bits
      return (0..<bits).reduce(UInt8(0)) { code, bit in
        let byte = bytes[index / columns * rowByteCount + (first + bit) / 8]
        return code | (byte >> UInt8((first + bit) % 8) & 1) << UInt8(bit)
      }
    }
  }

  // A block of 32 has the scale, the bias if any, the high bits of 5-bit codes, the low nibbles.
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
