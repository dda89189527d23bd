import Bytes
import Formats
import Pleat
import TestSupport

/// A model, plans that write it in several ways, and runs of their parts.
struct PartCase {
  let scratch: Scratch

  init() throws { scratch = try Scratch() }

  /// What is written: a format, in one or several files.
  struct Way: Sendable, CustomStringConvertible {
    var format: Format
    var shardByteCount: Int?

    var description: String { format.name + (shardByteCount == nil ? "" : " in files") }

    var name: String {
      switch format.name {
      case "gguf": "out.gguf"
      case "pleat": "out.pleat"
      default: "out"
      }
    }
  }

  /// Six tensors of up to four blocks in a folder with its config.
  func model(seed: UInt64 = 1) throws -> Model {
    let shapes = [[768, 512], [1, 512], [512, 1536], [768, 512], [32, 32], [512, 512]]
    _ = try Models.make(
      shapes.enumerated().map { index, shape in
        Toy("model.layers.0.\(index).weight", .f32, shape, seed: seed + UInt64(index))
      }, in: scratch, metadata: [("general.architecture", "llama")], as: "in/model.safetensors")
    try scratch.write(#"{"model_type": "llama"}"#, as: "in/config.json")
    return try Model.open(scratch.path("in"))
  }

  func plan(_ model: Model, _ way: Way, in folder: String, bits: Int = 4) throws -> Plan {
    try scratch.write("", as: "\(folder)/empty")
    let destination = Destination(
      path: path(way, in: folder), format: way.format, shardByteCount: way.shardByteCount)
    return way.format == .safetensors
      ? try Plan.converting(model, decodingTo: .f16, to: destination)
      : try Plan.quantizing(model, try .with(bits: bits), to: destination)
  }

  func path(_ way: Way, in folder: String) -> String { scratch.path("\(folder)/\(way.name)") }

  /// The files of an output, by their names, without the folder of its parts.
  func files(_ way: Way, in folder: String) throws -> [String: [UInt8]] {
    let place = way.format.isCheckpoint ? "\(folder)/\(way.name)" : folder
    var files: [String: [UInt8]] = [:]
    for name in try Files.names(in: scratch.path(place))
    where name != "empty" && !name.hasSuffix(".parts") {
      files[name] = try scratch.bytes(of: "\(place)/\(name)")
    }
    return files
  }

  /// The files of one run.
  func expected(_ model: Model, _ way: Way) throws -> [String: [UInt8]] {
    try Run(plan(model, way, in: "whole"))()
    return try files(way, in: "whole")
  }

  @discardableResult
  func run(
    _ part: Int, of count: Int, _ plan: Plan, _ way: Way, in folder: String
  ) throws -> PartRun.Outcome {
    try PartRun(
      try PartNumber(part, of: count), of: plan, to: path(way, in: folder),
      arguments: ["quantize", "in"], workerCount: 2)()
  }

  /// The error of the last step.
  func finishError(_ plan: Plan, _ way: Way, in folder: String) -> ModelError? {
    Laws.error { () throws(ModelError) in try PartFinish(plan, at: path(way, in: folder))() }
  }
}
