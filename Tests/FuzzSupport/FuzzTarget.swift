internal import Bytes
internal import Formats
internal import Pleat
internal import SystemPackage
internal import TensorModel
internal import TestSupport

/// Passes bytes to a reader, as a fuzzer does millions of times, and checks its laws.
package final class FuzzTarget {
  /// The reader under test.
  package let reader: FuzzReader
  private let scratch: Scratch
  private let file: FileDescriptor?
  private let path: String
  private let base: Model?

  /// Small limits, so that a fuzzer with a memory limit detects larger allocations.
  static let limits: ReadLimits = {
    var limits = ReadLimits()
    (limits.headerByteCount, limits.metadataByteCount) = (1 << 20, 1 << 20)
    (limits.tensorCount, limits.metadataCount) = (1 << 12, 1 << 12)
    (limits.companionByteCount, limits.blockByteCount) = (1 << 20, 1 << 20)
    limits.columnCount = 1 << 16
    return limits
  }()

  // Larger models are not decoded: highly compressed data may take long, which is not a fault.
  private static let decodedByteCount = 1 << 22

  /// Creates a target, and writes the other files that the reader needs.
  package init(_ reader: FuzzReader) throws {
    self.reader = reader
    scratch = try Scratch()
    base = try FuzzFiles.write(for: reader, in: scratch)
    guard let name = reader.fileName else {
      (file, path) = (nil, "")
      return
    }
    file = try FileDescriptor.open(
      FilePath(scratch.path(name)), .readWrite, options: .create, permissions: .ownerReadWrite)
    let isFolder = [.mlx, .gptq, .awq, .compressedTensors, .peft, .mlxAdapter].contains(reader)
    path = isFolder ? scratch.folder : scratch.path(name)
  }

  deinit { try? file?.close() }

  /// Passes bytes to the reader, and describes the law that it breaks; nil if it breaks none.
  ///
  /// Throws if the bytes cannot be written.
  package func brokenLaw(with bytes: [UInt8]) throws -> String? {
    let bytes = reader == .sums ? EngineLaws.sums(bytes) : bytes
    if let file {
      try file.writeAll(toAbsoluteOffset: 0, bytes)
      try file.resize(to: Int64(bytes.count))
    }
    do throws(ModelError) {
      switch reader {
      case .safetensors, .safetensorsIndex, .gguf, .pleat, .mlx, .gptq, .awq, .compressedTensors:
        return try brokenLawOfModel()
      case .peft, .mlxAdapter: return try brokenLawOfAdapter()
      case .importance:
        return try MatrixLaws.broken(by: path, in: scratch, limits: Self.limits)
      case .logits, .sums, .tokenArray, .tokenLines, .text:
        return try EngineLaws.broken(by: reader, path)
      default: return try TextLaws.broken(by: reader, with: bytes)
      }
    } catch {
      return judgement(on: error)
    }
  }

  /// Describes what is wrong with an error that a file caused; nil if nothing is.
  private func judgement(on error: ModelError) -> String? {
    var kinds: [ModelError.Kind] = [.malformed, .unsupported, .limit, .mismatch]
    // A shard may be missing.
    if [.safetensorsIndex, .gguf, .importance].contains(reader) { kinds.append(.io) }
    if reader == .recipe { kinds.append(.usage) }
    let isClear = kinds.contains(error.kind) && !error.what.isEmpty
    return isClear ? nil : "a file causes an error of an unexpected kind: \(error)"
  }

  private func brokenLawOfModel() throws(ModelError) -> String? {
    let model = try Model.open(path, limits: Self.limits)
    let again: Model
    do throws(ModelError) { again = try Model.open(path, limits: Self.limits) } catch {
      return "a model cannot be opened a second time: \(error)"
    }
    guard model.format == again.format, Laws.areEqual(model.catalog, again.catalog) else {
      return "a model differs when it is opened a second time"
    }
    guard model.reader.inputPaths.allSatisfy({ $0.parentFolder.string == scratch.folder }) else {
      return "the reader opens a file outside the folder"
    }
    _ = Inspection(model)
    _ = model.history
    if reader == .safetensors { try FuzzFiles.readAsAdapter(model.catalog.tensors) }
    guard model.reader.stored.reduce(0, { $0 + $1.byteCount }) <= Self.decodedByteCount else {
      return nil
    }
    for index in model.reader.stored.indices { try readAll(of: index, of: model) }
    for companion in model.catalog.companions {
      _ = try model.companion(named: companion.name, limits: Self.limits)
    }
    let verification = try Verification(of: model, against: again)
    return verification.mismatches.isEmpty
      ? nil : "a model differs from itself: \(verification.mismatches)"
  }

  private func readAll(of index: Int, of model: Model) throws(ModelError) {
    var bytes = [UInt8](repeating: 0, count: model.reader.stored[index].byteCount)
    try bytes.change(0..<bytes.count) { (span) throws(ModelError) in
      try model.reader.read(index, at: 0, into: &span)
    }
  }

  private func brokenLawOfAdapter() throws(ModelError) -> String? {
    let adapter = try AdapterFile.open(path, limits: Self.limits)
    let again = try AdapterFile.open(path, limits: Self.limits)
    guard adapter.adapter.changes == again.adapter.changes else {
      return "an adapter differs when it is opened a second time"
    }
    guard let base else { return nil }
    _ = try Verification(of: base, against: base, adapters: [AppliedAdapter(adapter)])
    return nil
  }
}
