// Every word that the page shows, in both languages side by side. A {name} is replaced by a value.

/** @typedef {keyof typeof TEXTS} Key */

export const TEXTS = {
  title: {
    en: "What is in the picture?",
    zh: "图片里是什么？",
  },
  documentTitle: {
    en: "What is in the picture? · {name}",
    zh: "图片里是什么？ · {name}",
  },
  lead: {
    en: "Give it a photograph. A neural network tells you in a blink what it sees, out of {count} kinds of things that it knows.",
    zh: "给它一张照片，神经网络转眼就告诉你看到了什么。它认得 {count} 种事物。",
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
    zh: "选一张图片",
  },
  pasteHint: {
    en: "or paste one with {keys}",
    zh: "或者按 {keys} 粘贴",
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
    zh: "拍一张",
  },
  example: {
    en: "Try it with this cat",
    zh: "用这只猫试试",
  },
  formats: {
    en: "JPEG, PNG, WebP, AVIF, GIF, BMP or TIFF. Pictures are not stored.",
    zh: "支持 JPEG、PNG、WebP、AVIF、GIF、BMP 和 TIFF。图片不会被保存。",
  },
  formatsWithHeic: {
    en: "JPEG, HEIC, PNG, WebP, AVIF, GIF, BMP or TIFF. Pictures are not stored.",
    zh: "支持 JPEG、HEIC、PNG、WebP、AVIF、GIF、BMP 和 TIFF。图片不会被保存。",
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
    en: "These answers are guesses at random.",
    zh: "现在的答案是随机猜的。",
  },
  bannerUntrained: {
    en: "This model was started without trained weights, so it has not learned anything yet. Everything else works, but do not believe what it says.",
    zh: "这个模型启动时没有训练好的权重，还什么都没学过。其他功能一切正常，只是请不要相信它的答案。",
  },
  bannerDemonstrationTitle: {
    en: "A stand-in is answering.",
    zh: "现在由演示模型作答。",
  },
  bannerDemonstration: {
    en: "This server has no trained weights for ResNet18, so a small trained model, EfficientNet-Lite0, shows how the service works. Its answers are real.",
    zh: "这台服务器没有 ResNet18 的训练权重，所以由一个训练好的小模型 EfficientNet-Lite0 代为演示。它的答案是真实的。",
  },
  results: {
    en: "Results",
    zh: "结果",
  },
  allDone: {
    en: "All done",
    zh: "全部完成",
  },
  toGo: {
    en: "{done} of {total} done",
    zh: "已完成 {done} / {total}",
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
  noPreview: {
    en: "This browser cannot show this file.",
    zh: "浏览器无法显示这个文件。",
  },
  waiting: {
    en: "Waiting its turn",
    zh: "排队中",
  },
  working: {
    en: "Looking",
    zh: "正在看",
  },
  shrunk: {
    en: "Made smaller here before sending ({from} to {to}), since the service takes at most {limit}.",
    zh: "发送前已在浏览器中缩小（{from} → {to}），因为服务最多接收 {limit}。",
  },
  verdictSure: {
    en: "This looks like",
    zh: "看起来是",
  },
  verdictLikely: {
    en: "Probably",
    zh: "很可能是",
  },
  verdictUnsure: {
    en: "Hard to say. The best guess is",
    zh: "不太好说，最可能是",
  },
  verdictUntrained: {
    en: "A random guess",
    zh: "随机猜测",
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
    en: "Finding out why",
    zh: "正在查找原因",
  },
  whyText: {
    en: "The warmer the color, the more that spot speaks for “{label}”. The network sees only what is inside the frame.",
    zh: "颜色越暖，那里就越支持“{label}”这个答案。网络只看得到框内的部分。",
  },
  whyStrength: {
    en: "Strength of the map",
    zh: "热力图强度",
  },
  whyFailed: {
    en: "There is no map for this answer. {reason}",
    zh: "这个答案没有热力图。{reason}",
  },
  time: {
    en: "answered in {time}",
    zh: "用时 {time}",
  },
  timeRemembered: {
    en: "remembered, answered in {time}",
    zh: "来自缓存，用时 {time}",
  },
  retry: {
    en: "Try again",
    zh: "重试",
  },
  reference: {
    en: "Reference: {id}",
    zh: "参考编号：{id}",
  },
  announceAnswer: {
    en: "{name}: {label}, {percent}",
    zh: "{name}：{label}，{percent}",
  },
  announceFailure: {
    en: "{name}: {reason}",
    zh: "{name}：{reason}",
  },
  noPictureThere: {
    en: "There was no picture in that. Save the picture first, then choose it here.",
    zh: "里面没有图片。请先把图片保存下来，再在这里选择。",
  },
  foldersSkipped: {
    en: "Folders cannot be dropped here. Open the folder, select its pictures and drop those.",
    zh: "这里不能拖入文件夹。请打开文件夹，选中里面的图片再拖进来。",
  },
  tooManyPictures: {
    en: "The first {taken} of {given} pictures were taken; add the others afterwards.",
    zh: "共 {given} 张，先处理了前 {taken} 张；其余的请稍后再添加。",
  },
  cameraTitle: {
    en: "Take a photo",
    zh: "拍一张",
  },
  cameraShutter: {
    en: "Take the photo",
    zh: "拍照",
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
  cameraClose: {
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
    zh: "未找到摄像头。可以改为选择图片。",
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
    en: "This service asks for a key.",
    zh: "这个服务需要密钥。",
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
    zh: "在程序里使用",
  },
  apiText: {
    en: "One request, one answer: the most likely labels with their confidence in percent.",
    zh: "一次请求，一个回答：最可能的类别及其置信度（百分比）。",
  },
  copy: {
    en: "Copy",
    zh: "复制",
  },
  copied: {
    en: "Copied",
    zh: "已复制",
  },
  apiDocs: {
    en: "All endpoints and examples",
    zh: "全部接口与示例",
  },
  "error.noPicture": {
    en: "The service found no picture in this file.",
    zh: "服务在这个文件里没有找到图片。",
  },
  "error.damaged": {
    en: "This picture is damaged or incomplete. Open it in a picture viewer, save it again and try that copy.",
    zh: "这张图片已损坏或不完整。请用看图软件打开，另存一份，再试那一份。",
  },
  "error.tooLarge": {
    en: "This picture is too large for the service. Make it smaller and try that copy: 1,000 pixels a side are plenty.",
    zh: "这张图片太大了。请缩小后再试：边长 1000 像素就足够了。",
  },
  "error.unsupported": {
    en: "The service cannot read this kind of file. It reads JPEG, PNG, WebP, AVIF, GIF, BMP and TIFF pictures.",
    zh: "服务读不了这种文件。它能读 JPEG、PNG、WebP、AVIF、GIF、BMP 和 TIFF 图片。",
  },
  "error.heic": {
    en: "The service cannot read this HEIC photo. Export the photo as JPEG, or set the iPhone to Settings › Camera › Formats › Most Compatible.",
    zh: "服务读不了这张 HEIC 照片。请导出为 JPEG，或在 iPhone 上选择 设置 › 相机 › 格式 › 兼容性最佳。",
  },
  "error.failed": {
    en: "Something went wrong in the service. Trying again may help.",
    zh: "服务出了点问题，再试一次也许就好。",
  },
  "error.busy": {
    en: "The service is busy just now. Try again in a moment.",
    zh: "服务正忙，请稍后再试。",
  },
  "error.starting": {
    en: "The model is just being started. Try again in a few seconds.",
    zh: "模型正在启动，请过几秒再试。",
  },
  "error.slowUpload": {
    en: "The picture took too long to arrive. The connection may be slow: try again, or send a smaller one.",
    zh: "图片上传超时，网络可能较慢。请重试，或换一张小一些的图片。",
  },
  "error.tooMany": {
    en: "That was a lot of pictures in a short time. Wait a little, then try again.",
    zh: "短时间内图片太多了。请稍等片刻再试。",
  },
  "error.deadline": {
    en: "The answer took too long. The service may be busy: try again in a moment.",
    zh: "等待回答超时。服务可能正忙，请稍后再试。",
  },
  "error.unreachable": {
    en: "The service cannot be reached. It may be restarting: try again in a moment.",
    zh: "连接不上服务，它可能正在重启。请稍后再试。",
  },
  "error.offline": {
    en: "You are offline. Connect to the network, then try again.",
    zh: "你已离线。请连上网络后再试。",
  },
  "error.keyNeeded": {
    en: "The service asks for a key. Enter it above, then try again.",
    zh: "服务需要密钥。请在上方输入，然后重试。",
  },
  "error.notServed": {
    en: "The service does not offer this model any more. Choose another one or try again.",
    zh: "服务已不再提供这个模型。请选择别的模型，或者重试。",
  },
};
