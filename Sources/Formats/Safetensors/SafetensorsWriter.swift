internal import Bytes
internal import SystemPackage
internal import TensorModel

/// Writes the files that a `SafetensorsLayout` has planned.
final class SafetensorsWriter: TensorSink {
  private let layout: SafetensorsLayout
  private let staging: Staging
  private let files: ShardFiles
  private let companions: [OutputFile]
  private let index: OutputFile?

  convenience init(
    _ layout: SafetensorsLayout, replacing: Bool, resumption: Staging.Resumption?
  ) throws(ModelError) {
    let staging = try Staging(
      layout.options.path, isFolder: layout.isFolder, names: layout.fileNames, replacing: replacing,
      resumption: resumption)
    try self.init(layout, staging, areFilled: false)
  }

  /// Takes over files that parts have filled.
  convenience init(
    _ layout: SafetensorsLayout, finishing parts: PartFolder, replacing: Bool
  ) throws(ModelError) {
    let staging = try Staging(
      finishing: parts, isFolder: layout.isFolder, names: layout.fileNames,
      filled: layout.files.map(\.name), replacing: replacing)
    try self.init(layout, staging, areFilled: true)
  }

  private init(
    _ layout: SafetensorsLayout, _ staging: Staging, areFilled: Bool
  ) throws(ModelError) {
    self.layout = layout
    self.staging = staging
    files = try ShardFiles(
      staging, layout.plans, layout.offsets, layout.contents.stored, areFilled: areFilled)
    var companions: [OutputFile] = []
    for companion in layout.companions { companions.append(try staging.create(companion.name)) }
    self.companions = companions
    // It is written last. Until then it contains zeros, which no reader accepts as an index.
    index = layout.index == nil ? nil : try staging.create(SafetensorsLayout.indexName)
    try index?.reserve(layout.index?.byteCount ?? 0)
  }

  func write(_ block: [PartBlock], ticket: Int) throws(ModelError) {
    try files.write(block)
  }

  func isKept(_ stored: Int) -> Bool { files.isKept(stored) }

  func writeCompanion(_ index: Int, at offset: Int, _ bytes: [UInt8]) throws(ModelError) {
    guard !companions.isEmpty else { return }
    try companions[index].write(bytes, at: offset)
  }

  func seal(sources: [SourceFile]) throws(ModelError) -> WrittenSize {
    if let text = layout.index { try index?.write(text, at: 0) }
    try staging.synchronize()
    return WrittenSize(byteCount: layout.byteCount, tensorByteCount: layout.tensorByteCount)
  }

  var sealedPath: FilePath { staging.path(of: layout.isFolder ? "" : layout.options.path.name) }

  func publish() throws(ModelError) {
    // Without the first shard, the config and the index, no reader accepts the other files as a model.
    let guards = [layout.files[0].name, "config.json", SafetensorsLayout.indexName]
    try staging.publish(guards: guards) { name in
      name == SafetensorsLayout.indexName
        || name.hasPrefix(layout.options.stem) && name.hasSuffix(".safetensors")
    }
  }
}
