import Adapters
import Formats
import Pleat
import TestSupport

extension AdapterKind {
  /// What opens an adapter of this kind: the folder of PEFT or MLX, the file of llama.cpp.
  fileprivate func path(_ name: String) -> String { self == .gguf ? "\(name).gguf" : name }
}

extension Folder {
  /// A base of three tensors, two of them in groups of 32 columns.
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

  /// Factors in a file of some kind, rank 2 and scale 3.
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

  /// Stores adapters in a model, and opens what was written.
  @discardableResult
  func attach(
    _ uses: [AdapterUse], names: [String], to base: Model, at name: String,
    compresses: Bool = false, workerCount: Int = 2
  ) throws(ModelError) -> Model {
    let destination = Destination(
      path: scratch.path(name), format: try Formats.named(Files.suffix(of: name)),
      compresses: compresses)
    try Run(
      try Plan.attaching(uses, names: names, to: base, at: destination), workerCount: workerCount)()
    return try Model.open(destination.path)
  }

  /// Rewrites a model unchanged, and opens what was written.
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
  /// The tensors of MLX, F32: both factors turned.
  var tensorsOfMLX: [Toy] {
    [
      Toy("\(path).lora_a", .f32, [width, rank], Self.turned(a, rows: rank)),
      Toy("\(path).lora_b", .f32, [rank, height], Self.turned(b, rows: height)),
    ]
  }

  /// The tensors of llama.cpp, F32.
  var tensorsOfGGUF: [Toy] {
    [
      Toy("\(path).weight.lora_a", .f32, [rank, width], a),
      Toy("\(path).weight.lora_b", .f32, [height, rank], b),
    ]
  }

  static func turned(_ values: [Float], rows: Int) -> [Float] {
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
