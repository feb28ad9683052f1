// Every word that the page shows, in both languages side by side. A {name} is replaced by a value.

/** @typedef {keyof typeof TEXTS} Key */

export const TEXTS = {
  title: {
    en: "What is in the picture?",
    zh: "图里有什么？",
  },
  documentTitle: {
    en: "What is in the picture? · {name}",
    zh: "图里有什么？ · {name}",
  },
  lead: {
    en: "Add a photograph, and a neural network tells you what is in it. It knows {count} kinds of things.",
    zh: "上传一张照片，神经网络立刻告诉你照片里是什么。可识别 {count} 类事物。",
  },
  languageChoice: {
    en: "Language",
    zh: "语言",
  },
  "theme.system": {
    en: "Colors: as the system",
    zh: "配色：跟随系统",
  },
  "theme.light": {
    en: "Colors: light",
    zh: "配色：浅色",
  },
  "theme.dark": {
    en: "Colors: dark",
    zh: "配色：深色",
  },
  dropHere: {
    en: "Drop pictures here",
    zh: "把图片拖到这里",
  },
  pickHere: {
    en: "Pick a picture",
    zh: "选择图片",
  },
  pasteHint: {
    en: "or paste one with {keys}",
    zh: "或按 {keys} 粘贴",
  },
  letGo: {
    en: "Let go to add",
    zh: "松手即可添加",
  },
  choose: {
    en: "Choose pictures",
    zh: "选择图片",
  },
  camera: {
    en: "Take a photo",
    zh: "拍照",
  },
  examples: {
    en: "Or try one of these:",
    zh: "或者试试这些图片：",
  },
  exampleHard: {
    en: "{name} · hard",
    zh: "{name} · 难题",
  },
  exampleHardWhy: {
    en: "Hard on purpose: ImageNet’s 1,000 classes have none for it.",
    zh: "特意选的难题：ImageNet 的 1000 个类别中没有它。",
  },
  credits: {
    en: "Example pictures: authors and licences",
    zh: "示例图片：作者与许可",
  },
  credit: {
    en: "{name}: ",
    zh: "{name}：",
  },
  comma: {
    en: ", ",
    zh: "，",
  },
  publicDomain: {
    en: "public domain",
    zh: "公有领域",
  },
  formats: {
    en: "JPEG, PNG, WebP, AVIF, GIF, BMP or TIFF. {storing}",
    zh: "支持 JPEG、PNG、WebP、AVIF、GIF、BMP 和 TIFF。{storing}",
  },
  formatsWithHeic: {
    en: "JPEG, HEIC, PNG, WebP, AVIF, GIF, BMP or TIFF. {storing}",
    zh: "支持 JPEG、HEIC、PNG、WebP、AVIF、GIF、BMP 和 TIFF。{storing}",
  },
  notStored: {
    en: "Pictures are not stored.",
    zh: "图片不会被保存。",
  },
  storedIfReported: {
    en: "Pictures are not stored, except one whose answer you report as wrong.",
    zh: "除了你反馈“识别有误”的图片，其他图片不会被保存。",
  },
  model: {
    en: "Model",
    zh: "模型",
  },
  modelUntrained: {
    en: "{name} (untrained)",
    zh: "{name}（未训练）",
  },
  modelDemonstration: {
    en: "{name} (demonstration)",
    zh: "{name}（演示）",
  },
  modelNotReady: {
    en: "{name} (not ready)",
    zh: "{name}（未就绪）",
  },
  bannerUntrainedTitle: {
    en: "These answers are random.",
    zh: "当前结果是随机的。",
  },
  bannerUntrained: {
    en: "{name} has no trained weights, so its answers mean nothing. Everything else works as usual.",
    zh: "模型 {name} 尚未训练，以下结果是随机的，请勿采信。其他功能不受影响。",
  },
  bannerDemonstrationTitle: {
    en: "The demonstration model is answering.",
    zh: "当前使用演示模型。",
  },
  bannerDemonstration: {
    en: "{name} is a small trained model to try this service with. Its answers are real.",
    zh: "{name} 是供试用的小模型，已训练好，识别结果真实有效。",
  },
  bannerDemonstrationInstead: {
    en: "{untrained} has no trained weights, so a small trained model, {name}, answers instead. Its answers are real.",
    zh: "没有找到 {untrained} 的预训练权重，暂由小模型 {name} 代替；识别结果真实有效。",
  },
  results: {
    en: "Results",
    zh: "结果",
  },
  layout: {
    en: "Layout",
    zh: "布局",
  },
  "layout.cards": {
    en: "Cards",
    zh: "卡片",
  },
  "layout.table": {
    en: "Table",
    zh: "表格",
  },
  labelsMenu: {
    en: "Labels",
    zh: "显示",
  },
  topK: {
    en: "Labels per picture",
    zh: "每张图显示的类别数",
  },
  threshold: {
    en: "Hide confidence below",
    zh: "隐藏置信度低于此值的类别",
  },
  nothingAbove: {
    en: "No label reaches {percent}",
    zh: "没有置信度达到 {percent} 的类别",
  },
  untrained: {
    en: "untrained",
    zh: "未训练",
  },
  exportMenu: {
    en: "Export",
    zh: "导出",
  },
  exportAll: {
    en: "All pictures: {count}",
    zh: "全部图片：{count} 张",
  },
  exportFiltered: {
    en: "Filtered pictures: {count} of {all}",
    zh: "筛选后的图片：{count} / {all} 张",
  },
  exportText: {
    en: "Copy as text",
    zh: "复制为文本",
  },
  exportCsv: {
    en: "Download CSV",
    zh: "下载 CSV",
  },
  exportJson: {
    en: "Download JSON",
    zh: "下载 JSON",
  },
  copyLine: {
    en: "Copy label and confidence",
    zh: "复制类别和置信度",
  },
  line: {
    en: "{label} {percent}",
    zh: "{label}（{percent}）",
  },
  lineUntrained: {
    en: "{label} {percent} (untrained)",
    zh: "{label}（{percent}，未训练）",
  },
  tableCaption: {
    en: "Pictures and their labels",
    zh: "图片及识别结果",
  },
  "column.picture": {
    en: "Picture",
    zh: "图片",
  },
  "column.name": {
    en: "Name",
    zh: "文件名",
  },
  "column.state": {
    en: "State",
    zh: "状态",
  },
  "column.label": {
    en: "Label",
    zh: "类别",
  },
  "column.confidence": {
    en: "Confidence",
    zh: "置信度",
  },
  "column.further": {
    en: "Further labels",
    zh: "其他类别",
  },
  "column.model": {
    en: "Model",
    zh: "模型",
  },
  "column.time": {
    en: "Time",
    zh: "用时",
  },
  "column.actions": {
    en: "Actions",
    zh: "操作",
  },
  sortBy: {
    en: "Sort by",
    zh: "排序",
  },
  filterStates: {
    en: "Show by state",
    zh: "按状态筛选",
  },
  filterText: {
    en: "Find names and labels",
    zh: "查找文件名或类别",
  },
  countAll: {
    en: "All {count}",
    zh: "全部 {count}",
  },
  noMatch: {
    en: "No picture matches.",
    zh: "没有符合条件的图片。",
  },
  "state.done": {
    en: "Recognized",
    zh: "已识别",
  },
  "state.failed": {
    en: "Failed",
    zh: "失败",
  },
  "state.refused": {
    en: "Not readable",
    zh: "无法读取",
  },
  uploadingShare: {
    en: "Uploading {share}",
    zh: "上传中 {share}",
  },
  retryOne: {
    en: "Try {name} again",
    zh: "重试 {name}",
  },
  "count.done": {
    en: "{count} recognized",
    zh: "已识别 {count}",
  },
  "count.failed": {
    en: "{count} failed",
    zh: "失败 {count}",
  },
  "count.refused": {
    en: "{count} not readable",
    zh: "无法读取 {count}",
  },
  "count.working": {
    en: "{count} in progress",
    zh: "识别中 {count}",
  },
  "count.waiting": {
    en: "{count} waiting",
    zh: "排队 {count}",
  },
  "count.ready": {
    en: "{count} not started",
    zh: "未开始 {count}",
  },
  start: {
    en: "Start recognizing ({count})",
    zh: "开始识别（{count}）",
  },
  autoStart: {
    en: "Start automatically",
    zh: "添加后自动识别",
  },
  retryFailed: {
    en: "Retry failed ({count})",
    zh: "重试失败项（{count}）",
  },
  patience: {
    en: "{reason} The next try is in {time}.",
    zh: "{reason}{time}后自动重试。",
  },
  tryNow: {
    en: "Try now",
    zh: "立即重试",
  },
  clear: {
    en: "Clear all",
    zh: "全部清除",
  },
  remove: {
    en: "Remove {name}",
    zh: "移除 {name}",
  },
  pictureAlt: {
    en: "Your picture {name}",
    zh: "你的图片 {name}",
  },
  enlarge: {
    en: "Enlarge {name}",
    zh: "放大 {name}",
  },
  noPreview: {
    en: "This browser cannot show this file.",
    zh: "浏览器无法显示这个文件。",
  },
  ready: {
    en: "Not started yet",
    zh: "尚未开始",
  },
  waiting: {
    en: "Waiting",
    zh: "排队中",
  },
  preparing: {
    en: "Making it smaller",
    zh: "正在缩小",
  },
  uploading: {
    en: "Uploading",
    zh: "上传中",
  },
  recognizing: {
    en: "Recognizing",
    zh: "识别中",
  },
  shrunk: {
    en: "Made smaller in this browser before it was sent ({from} to {to}).",
    zh: "发送前已在浏览器中缩小（{from} → {to}）。",
  },
  sendOriginal: {
    en: "Send the original instead",
    zh: "改为发送原图",
  },
  verdictSure: {
    en: "Very likely",
    zh: "识别为",
  },
  verdictLikely: {
    en: "Probably",
    zh: "很可能是",
  },
  verdictUnsure: {
    en: "Hard to say. The best guess is",
    zh: "把握不大，最可能是",
  },
  verdictUntrained: {
    en: "A random guess",
    zh: "随机结果",
  },
  confidence: {
    en: "Confidence",
    zh: "置信度",
  },
  confidenceText: {
    en: "The share of 100% that the model gives this class, among all {count} it knows: how sure the model is, not a guarantee.",
    zh: "模型把 100% 分配给它认识的全部 {count} 个类别，置信度就是这一类分到的比例：它说明模型有多大把握，但不保证正确。",
  },
  confidenceTextPlain: {
    en: "The share of 100% that the model gives this class, among all it knows: how sure the model is, not a guarantee.",
    zh: "模型把 100% 分配给它认识的所有类别，置信度就是这一类分到的比例：它说明模型有多大把握，但不保证正确。",
  },
  more: {
    en: "Show more",
    zh: "显示更多",
  },
  fewer: {
    en: "Show fewer",
    zh: "收起",
  },
  why: {
    en: "Why?",
    zh: "为什么？",
  },
  whyHide: {
    en: "Hide the map",
    zh: "隐藏热力图",
  },
  whyLoading: {
    en: "Drawing the map",
    zh: "正在生成热力图",
  },
  whyText: {
    en: "The warmer the color, the more that area counts towards “{label}”. The network sees only what is inside the frame.",
    zh: "颜色越暖的区域，对判断为“{label}”的贡献越大。模型只分析框内部分。",
  },
  whyStrength: {
    en: "Opacity of the map",
    zh: "热力图不透明度",
  },
  whyFailed: {
    en: "There is no map for this answer. {reason}",
    zh: "无法生成热力图。{reason}",
  },
  report: {
    en: "This is wrong",
    zh: "识别有误",
  },
  reportLabel: {
    en: "What is it really?",
    zh: "图里其实是什么？",
  },
  reportOther: {
    en: "None of the model’s {count} classes has this name. Choose one from the list, or it is kept in your words.",
    zh: "模型的 {count} 个类别中没有这个名称。可从列表中选择，否则按你填写的文字保存。",
  },
  reportSuggestions: {
    en: "Other classes that came near",
    zh: "其他可能的类别",
  },
  reportKeeping: {
    en: "Sending keeps this picture and your answer on this server, for the people who run it: they may improve the model with them, and can delete them. Your name and address are not kept.",
    zh: "提交后，这张图片和你的回答会保存在本服务器上，供服务的运营者改进模型，运营者可随时删除；不会保存你的姓名和网络地址。",
  },
  reportSend: {
    en: "Send",
    zh: "提交",
  },
  reportSending: {
    en: "Sending…",
    zh: "提交中…",
  },
  reportSame: {
    en: "That is what the model answered. Name what is right instead.",
    zh: "这正是模型给出的答案。请填写正确的类别。",
  },
  reportThanks: {
    en: "Thank you. Kept as “{name}”.",
    zh: "谢谢，已按“{name}”保存。",
  },
  reportId: {
    en: "Report {id}",
    zh: "反馈编号：{id}",
  },
  compareWith: {
    en: "Compare with…",
    zh: "对比模型…",
  },
  compareNone: {
    en: "Do not compare",
    zh: "不对比",
  },
  compareOff: {
    en: "Stop comparing",
    zh: "停止对比",
  },
  compareLabel: {
    en: "Compare with",
    zh: "对比模型",
  },
  modelsAgree: {
    en: "Both models say the same.",
    zh: "两个模型结果一致。",
  },
  modelsDisagree: {
    en: "The models disagree.",
    zh: "两个模型结果不一致。",
  },
  announceSecond: {
    en: "{name}, {model}: {label}, confidence {percent}",
    zh: "{name}，{model}：{label}，置信度 {percent}",
  },
  firstFrame: {
    en: "An animation: only its first frame was looked at.",
    zh: "这是动图，只识别了第一帧。",
  },
  firstPage: {
    en: "Several pages: only the first was looked at.",
    zh: "文件有多页，只识别了第一页。",
  },
  whyClass: {
    en: "Map for",
    zh: "类别",
  },
  whyWeak: {
    en: "weak",
    zh: "弱",
  },
  whyStrong: {
    en: "strong",
    zh: "强",
  },
  whySave: {
    en: "Save the picture with its map",
    zh: "保存带热力图的图片",
  },
  "error.notExplainable": {
    en: "This model offers no such map.",
    zh: "该模型不支持此热力图。",
  },
  crop: {
    en: "Crop",
    zh: "裁剪",
  },
  cropHint: {
    en: "Drag the frame over what should be recognized, and a corner to resize it. Keys: arrows, + and −, Enter.",
    zh: "拖动方框选择要识别的部分，拖动四角调整大小。键盘：方向键、+、−、回车。",
  },
  cropFrame: {
    en: "Frame around the part to recognize",
    zh: "要识别部分的方框",
  },
  cropSize: {
    en: "Size",
    zh: "大小",
  },
  cropPosition: {
    en: "Center at {x} from the left and {y} from the top, size {size}",
    zh: "中心：距左 {x}，距上 {y}；大小 {size}",
  },
  cropApply: {
    en: "Recognize this part",
    zh: "识别这一部分",
  },
  cropKeep: {
    en: "Use this part",
    zh: "使用这一部分",
  },
  cropReset: {
    en: "Reset",
    zh: "重置",
  },
  cropMiddle: {
    en: "The model saw only the middle.",
    zh: "只识别了中间部分。",
  },
  cropSent: {
    en: "The model saw only the part in the frame.",
    zh: "只识别了框内部分。",
  },
  cropWillSee: {
    en: "The model will see only the part in the frame.",
    zh: "将只识别框内部分。",
  },
  cropOther: {
    en: "Choose another part",
    zh: "选择其他部分",
  },
  cancel: {
    en: "Cancel",
    zh: "取消",
  },
  time: {
    en: "answered in {time}",
    zh: "用时 {time}",
  },
  cached: {
    en: "cached",
    zh: "缓存结果",
  },
  retry: {
    en: "Try again",
    zh: "重试",
  },
  reference: {
    en: "Request ID: {id}",
    zh: "请求编号：{id}",
  },
  announceAnswer: {
    en: "{name}: {label}, confidence {percent}",
    zh: "{name}：{label}，置信度 {percent}",
  },
  announceUntrained: {
    en: "{name}: {label}, confidence {percent}, a random guess of an untrained model",
    zh: "{name}：{label}，置信度 {percent}，模型未训练，结果随机",
  },
  announceFailure: {
    en: "{name}: {reason}",
    zh: "{name}：{reason}",
  },
  noPictureThere: {
    en: "What was pasted or dropped is not a picture. Save the picture first, then choose it here.",
    zh: "粘贴或拖入的内容不是图片。请先保存图片，再在这里选择。",
  },
  textThere: {
    en: "What was pasted or dropped is text. Copy the picture itself, or save it and choose it here.",
    zh: "粘贴或拖入的内容是文字。请复制图片本身，或先保存图片再在这里选择。",
  },
  addressesOff: {
    en: "That is a web address, and this service fetches nothing from the web. Copy the picture itself (“Copy image”) and paste it, or save it and choose it here.",
    zh: "这是一个网址，而本服务不从网上下载图片。请“复制图片”后粘贴，或先保存图片再在这里选择。",
  },
  fetching: {
    en: "Fetching the picture…",
    zh: "正在下载图片…",
  },
  foldersSkipped: {
    en: "Folders cannot be dropped here. Open the folder, select its pictures and drop those.",
    zh: "这里不能拖入文件夹。请打开文件夹，选中其中的图片再拖进来。",
  },
  tooManyPictures: {
    en: "The first {taken} of {given} pictures were taken: this page holds 500 at most. Clear some, then add the others.",
    zh: "共 {given} 张，只添加了前 {taken} 张：页面最多容纳 500 张。请清除一些后再添加其余的。",
  },
  cameraTitle: {
    en: "Take a photo",
    zh: "拍照",
  },
  cameraShutter: {
    en: "Take the photo",
    zh: "拍摄",
  },
  cameraKeep: {
    en: "Keep this picture",
    zh: "保留这张图片",
  },
  cameraLive: {
    en: "Live",
    zh: "实时识别",
  },
  cameraChoose: {
    en: "Choose a picture",
    zh: "选择图片",
  },
  liveHint: {
    en: "As long as this is on, the camera's picture goes to the service. None is stored.",
    zh: "开启期间，摄像头画面会发送到服务端识别，不会被保存。",
  },
  liveRate: {
    en: "{count} a second",
    zh: "每秒 {count} 次",
  },
  liveIdle: {
    en: "Live was switched off after three minutes without a touch.",
    zh: "三分钟无操作，实时识别已自动关闭。",
  },
  cameraTurn: {
    en: "Other camera",
    zh: "切换摄像头",
  },
  close: {
    en: "Close",
    zh: "关闭",
  },
  cameraStarting: {
    en: "Starting the camera",
    zh: "正在打开摄像头",
  },
  cameraRefused: {
    en: "The browser does not allow this page to use the camera. Allow it in the address bar and try again, or choose a picture instead.",
    zh: "浏览器不允许本页面使用摄像头。请在地址栏中允许后重试，或改为选择图片。",
  },
  cameraMissing: {
    en: "No camera was found. Choose a picture instead.",
    zh: "没有找到摄像头，请改为选择图片。",
  },
  cameraBusy: {
    en: "The camera cannot be used now; perhaps another program is using it.",
    zh: "摄像头暂时无法使用，可能正被其他程序占用。",
  },
  photoName: {
    en: "Photo {time}.jpg",
    zh: "照片 {time}.jpg",
  },
  keyTitle: {
    en: "This service requires an API key.",
    zh: "此服务需要 API 密钥。",
  },
  keyLabel: {
    en: "API key",
    zh: "API 密钥",
  },
  keySave: {
    en: "Use this key",
    zh: "使用此密钥",
  },
  apiTitle: {
    en: "Use it from a program",
    zh: "在程序中调用",
  },
  apiText: {
    en: "Send a picture, get the most likely labels with their confidence in percent.",
    zh: "发送一次请求，即可得到最可能的类别及置信度（百分比）。",
  },
  copy: {
    en: "Copy",
    zh: "复制",
  },
  copied: {
    en: "Copied",
    zh: "已复制",
  },
  sampleChoice: {
    en: "Language of the code",
    zh: "代码语言",
  },
  "sample.curl": {
    en: "For a terminal. Replace cat.jpg with your picture.",
    zh: "在终端中运行，把 cat.jpg 换成你的图片。",
  },
  "sample.requests": {
    en: "Needs requests: pip install requests",
    zh: "需要 requests：pip install requests",
  },
  "sample.client": {
    en: "Our own client tries again when the service is busy, and sends many pictures at once. In a clone of Marserve: pip install .",
    zh: "自带的客户端，服务繁忙时会自动重试，也能并发发送多张图片。在 Marserve 源码目录中安装：pip install .",
  },
  "sample.javascript": {
    en: "For Node.js 18 or newer, as a file that ends in .mjs. In a browser, the body is the File of an input; pages of other addresses need MARSERVE_CORS_ORIGINS.",
    zh: "适用于 Node.js 18 及以上版本，文件以 .mjs 结尾。在浏览器中，body 用文件输入框里的 File；其他网站的页面需要设置 MARSERVE_CORS_ORIGINS。",
  },
  "sample.triton": {
    en: "Triton’s client, by the Open Inference Protocol: pip install \"tritonclient[http]\"",
    zh: "Triton 客户端，使用 Open Inference Protocol：pip install \"tritonclient[http]\"",
  },
  sampleKey: {
    en: "Your key is read from the variable {name}.",
    zh: "密钥从环境变量 {name} 中读取。",
  },
  apiDocs: {
    en: "All endpoints and examples",
    zh: "全部接口与示例",
  },
  "error.noPicture": {
    en: "There is no picture in this file.",
    zh: "文件中没有可识别的图片。",
  },
  "error.damaged": {
    en: "This picture is damaged or incomplete. Open it in a picture viewer, save it again and try that copy.",
    zh: "图片已损坏或不完整。请用看图软件打开并另存，然后重试。",
  },
  "error.quarantined": {
    en: "The model cannot bear this picture: it ended twice under it. Open it in a picture viewer, save it as a new file and try that one.",
    zh: "模型两次因这张图片而中断，已不再处理它。请用看图软件打开并另存为新文件，然后重试。",
  },
  "error.tooLarge": {
    en: "This picture is too large for the service. Make it smaller and try that copy: 1,000 pixels a side are plenty.",
    zh: "图片太大。请缩小后再试：边长 1000 像素就足够了。",
  },
  "error.unsupported": {
    en: "This file format is not supported. Supported are JPEG, PNG, WebP, AVIF, GIF, BMP and TIFF pictures.",
    zh: "不支持此文件格式。支持的格式有 JPEG、PNG、WebP、AVIF、GIF、BMP 和 TIFF。",
  },
  "error.heic": {
    en: "HEIC photos are not supported here. Export the photo as JPEG, or set the iPhone to Settings › Camera › Formats › Most Compatible.",
    zh: "不支持 HEIC 照片。请导出为 JPEG，或在 iPhone 上选择 设置 › 相机 › 格式 › 兼容性最佳。",
  },
  "error.failed": {
    en: "The service failed. Try again.",
    zh: "服务出错，请重试。",
  },
  "error.busy": {
    en: "The service is busy just now. Try again in a moment.",
    zh: "服务正忙，请稍后再试。",
  },
  "error.starting": {
    en: "The model is starting. Try again in a few seconds.",
    zh: "模型正在启动，请过几秒再试。",
  },
  "error.slowUpload": {
    en: "The picture took too long to arrive. The connection may be slow: try again, or send a smaller one.",
    zh: "图片上传超时，网络可能较慢。请重试，或换一张较小的图片。",
  },
  "error.tooMany": {
    en: "Too many pictures in a short time. Wait a little, then try again.",
    zh: "请求过于频繁，请稍后再试。",
  },
  "error.deadline": {
    en: "The answer took too long. The service may be busy: try again in a moment.",
    zh: "等待结果超时，服务可能正忙。请稍后再试。",
  },
  "error.unreachable": {
    en: "The service cannot be reached. It may be restarting: try again in a moment.",
    zh: "无法连接服务，它可能正在重启。请稍后再试。",
  },
  "error.offline": {
    en: "You are offline. Connect to the network, then try again.",
    zh: "网络已断开，请联网后重试。",
  },
  "error.keyNeeded": {
    en: "This service requires an API key. Enter it above, then try again.",
    zh: "此服务需要 API 密钥，请在上方输入后重试。",
  },
  "error.notServed": {
    en: "The service no longer offers this model. Choose another one or try again.",
    zh: "该模型已停止提供服务，请选择其他模型或重试。",
  },
  "error.notFetched": {
    en: "No picture could be fetched from this address. It must be public and lead to the picture alone: open the picture in a tab of its own and copy that address, or save it and choose it here.",
    zh: "无法从这个网址取得图片。网址必须能公开访问，并且直接指向图片：请在新标签页中打开图片并复制其网址，或先保存图片再在这里选择。",
  },
  "error.reportsOff": {
    en: "This service does not take such reports any more.",
    zh: "本服务已不再接收反馈。",
  },
  "error.reportsFull": {
    en: "There is no room for more reports on this server. The people who run it can make some.",
    zh: "服务器上保存反馈的空间已满，请联系服务的运营者。",
  },
};
