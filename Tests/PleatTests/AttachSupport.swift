import Adapters
import Formats
import Pleat
import TestSupport

extension AdapterKind {
  /// The path of an adapter of this kind: a folder for PEFT and MLX, a file for llama.cpp.
  fileprivate func path(_ name: String) -> String { self == .gguf ? "\(name).gguf" : name }
}

extension Folder {
  /// A base model of three tensors, two of them in groups of 32 columns.
  func groupedBase(
    _ scheme: String = "minmax", compresses: Bool = false, as name: String = "base.pleat"
  ) throws -> Model {
    let source = try Models.make(
      [
        Toy("a.weight", .f32, [6, 128], seed: 701), Toy("b.weight", .f32, [3, 128], seed: 702),
        Toy("norm.weight", .f32, [7], seed: 703),
      ], in: scratch, metadata: [("general.architecture", "llama")], as: "source.safetensors")
    return try quantize(source, try .with(scheme: scheme), to: name, compresses: compresses)
  }

  /// Writes factors of rank 2 and scale 3 as an adapter of a kind, and opens it.
  func adapter(_ kind: AdapterKind, _ factors: [ToyFactors], as name: String) throws -> AdapterFile
  {
    switch kind {
    case .peft: try scratch.peft(factors.flatMap(\.tensors), as: name)
    case .mlx:
      try scratch.write(
        ToyFiles.safetensors(factors.flatMap(\.tensorsOfMLX)), as: "\(name)/adapters.safetensors")
      try scratch.write(
        "{\"fine_tune_type\":\"lora\",\"lora_parameters\":{\"rank\":2,\"scale\":3.0}}",
        as: "\(name)/adapter_config.json")
    case .gguf:
      try scratch.write(
        ToyFiles.gguf(
          factors.flatMap(\.tensorsOfGGUF).map { ($0, 0) },
          metadata: [("general.type", "adapter"), ("adapter.type", "lora")],
          counts: [("answer", 42)], alpha: 6),
        as: "\(name).gguf")
    }
    return try AdapterFile.open(scratch.path(kind.path(name)))
  }

  /// Attaches adapters to a model and opens the output.
  @discardableResult
  func attach(
    _ adapters: [AppliedAdapter], names: [String], to base: Model, at name: String,
    compresses: Bool = false, workerCount: Int = 2
  ) throws(ModelError) -> Model {
    let destination = Destination(
      path: scratch.path(name), format: try Formats.named(Files.suffix(of: name)),
      compresses: compresses)
    try Run(
      try Plan.attaching(adapters, names: names, to: base, at: destination),
      workerCount: workerCount)()
    return try Model.open(destination.path)
  }

  /// Converts a model without changes and opens the output.
  @discardableResult
  func convert(
    _ model: Model, to name: String, compresses: Bool = false, shardByteCount: Int? = nil,
    droppingAdapters: Bool = false, workerCount: Int = 2
  ) throws(ModelError) -> Model {
    let destination = Destination(
      path: scratch.path(name),
      format: name.contains(".") ? try Formats.named(Files.suffix(of: name)) : .safetensors,
      shardByteCount: shardByteCount, compresses: compresses)
    let plan = try Plan.converting(model, to: destination, droppingAdapters: droppingAdapters)
    try Run(plan, workerCount: workerCount)()
    guard shardByteCount != nil, destination.format == .gguf else {
      return try Model.open(destination.path)
    }
    return try Model.open(scratch.path(plan.fileNames[0]))
  }
}

extension ToyFactors {
  /// The tensors of an MLX adapter in F32: both factors transposed.
  var tensorsOfMLX: [Toy] {
    [
      Toy("\(path).lora_a", .f32, [width, rank], Self.transposed(a, rows: rank)),
      Toy("\(path).lora_b", .f32, [rank, height], Self.transposed(b, rows: height)),
    ]
  }

  /// The tensors of a llama.cpp adapter in F32.
  var tensorsOfGGUF: [Toy] {
    [
      Toy("\(path).weight.lora_a", .f32, [rank, width], a),
      Toy("\(path).weight.lora_b", .f32, [height, rank], b),
    ]
  }

  /// The transpose of a matrix of `rows` rows, row-major.
  static func transposed(_ values: [Float], rows: Int) -> [Float] {
    let columns = values.count / rows
    return (0..<columns).flatMap { column in (0..<rows).map { values[$0 * columns + column] } }
  }
}

extension AdapterFile {
  /// All numbers of all tensors, in order.
  func allNumbers() throws(ModelError) -> [[Float]] {
    var all: [[Float]] = []
    for (index, tensor) in adapter.tensors.enumerated() {
      all.append(try numbers(of: index, 0..<tensor.shape.elementCount))
    }
    return all
  }
}
